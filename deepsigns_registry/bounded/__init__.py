"""Readers for what a stranger wrote: JSON, YAML, arrays and zip files, each within bounds.

Python's own readers take more than these formats are used for here, and end in a dozen kinds of
exception. These end in one, `UnreadableError`, which the caller turns into the error of its own
question. Everything that parses bytes of unknown origin reads them through here.
"""
