"""Text on a terminal or in a log: names that strangers chose never steer it.

File names, tags, names of models and messages of a runtime may hold escapes that move the cursor,
repaint lines that were printed before, or turn the direction of reading.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

__all__ = ["echo", "keep_logs_plain", "shown", "stdout_aside"]


def shown(text: str) -> str:
    r"""The text with a question mark for every sign that is not printed, line ends included.

    Examples:
        >>> shown("fraud\x1b[2J\u202e/7\nallowed:  it")
        'fraud?[2J?/7?allowed:  it'
    """
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def echo(text: str = "", *, err: bool = False) -> None:
    """Prints one line; see `shown`."""
    click.echo(shown(text), err=err)


@contextmanager
def stdout_aside() -> Iterator[None]:
    """Sends what this process and its children print to standard error, while the block lasts."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Called by the library, with this name."""
        # A traceback has lines of its own.
        return "\n".join(map(shown, super().format(record).split("\n")))


def keep_logs_plain() -> None:
    """Makes what the logging library prints where nobody set it up go through `shown` too."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Plain())
