"""What the tests of the command line share: a finished command, and a finished demo."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def answer(self) -> Any:
        """Of a command with `--json` that did not end in an error."""
        document = self.document
        assert document["error"] is None
        assert document["exit_code"] == self.code
        return document["answer"]


Deepsigns = Callable[..., Done]


@dataclass(frozen=True)
class Demo:
    """A finished demo, and what it asked of the network, as the kernel counted it."""

    folder: Path
    summary: dict[str, Any]
    printed: str
    counted: dict[str, int]


def one_line(done: Done, code: int) -> str:
    """The only line of a command that ended with this code."""
    assert done.code == code, done.out + done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    return lines[0]


@contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with one text replaced, for as long as the block lasts."""
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")
