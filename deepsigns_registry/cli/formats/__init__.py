"""The gate's answer for people and for the programs that read a pipeline's results: one a file.

A renderer is a function from a `Finding` to text. *No*, *could not check* and *tampered* are three
different things in each of them, and whatever a stranger may have named is escaped as its format
asks.
"""

from collections.abc import Callable, Mapping, Sequence

from deepsigns_registry.cli.formats import document, junit, markdown, sarif, text
from deepsigns_registry.cli.formats.finding import Finding

__all__ = ["ENDINGS", "FORMATS", "asked_format"]

FORMATS: Mapping[str, Callable[[Finding], str]] = {
    "text": text.render,
    "json": document.render,
    "junit": junit.render,
    "sarif": sarif.render,
    "markdown": markdown.render,
}
ENDINGS: Mapping[str, str] = {
    ".json": "json",
    ".xml": "junit",
    ".sarif": "sarif",
    ".md": "markdown",
}
"""Of a report's name, and the format that it stands for."""


def asked_format(words: Sequence[str]) -> str:
    """The format that a command line asks for, also when it is not understood otherwise.

    Args:
        words: Without the program's name.

    Examples:
        >>> asked_format(["gate", "fraud/7", "--format=junit"]), asked_format(["status", "--json"])
        ('junit', 'json')
        >>> asked_format(["gate", "--", "--json"])
        'text'
    """
    words = words[: words.index("--")] if "--" in words else words
    if "--json" in words:
        return "json"
    for word, after in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if option == "--format" and (found := value or after) in FORMATS:
            return found
    return "text"
