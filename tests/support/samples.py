"""Pages as tests read them: their blocks of code, and sample output compared by its shape."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^ *```$',
    re.MULTILINE | re.DOTALL,
)
# What differs from run to run, the longest kinds first.
_VARIES = (
    (r"\b[0-9a-f]{32,64}\b", "HEX"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"[-+]?\d[\d,]*(?:\.\d+)?", "0"),
    (r"-{3,}", "---"),
    (r"[ \t]+", " "),
)


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Attributes:
        language: What it is written in; `text` and nothing are output.
        title: What the page calls it, such as the name of a file.
        text: Its lines.
    """

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return [
        Block(
            one["language"],
            one["title"] or "",
            re.sub(f"^{one['indent']}", "", one["text"], flags=re.MULTILINE),
        )
        for one in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def shape(text: str) -> str:
    """A text in which figures, digests, times and widths of columns look alike."""
    for pattern, name in _VARIES:
        text = re.sub(pattern, name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def fits(sample: str, printed: str) -> bool:
    """Whether a sample shows what was printed.

    A line `...` stands for any lines, or none; inside a line it stands for a part of it.
    """
    pattern = "".join(map(_pattern, shape(sample).split("\n")))
    return re.fullmatch(pattern, shape(printed) + "\n") is not None


def _pattern(line: str) -> str:
    if line == "...":
        return r"(?:.*\n)*?"
    return re.escape(line).replace(re.escape("..."), ".*") + "\n"


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a terminal's transcript, each with what it printed."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed
