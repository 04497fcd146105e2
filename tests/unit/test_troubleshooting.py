"""Every error code has its entry in the page on troubleshooting, and its texts are real ones."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepsigns_registry import errors
from deepsigns_registry.cli import boundary
from deepsigns_registry.errors import DeepSignsError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SOURCES = [ROOT / "deepsigns_registry", *(ROOT / "plugins").iterdir()]
ENTRY = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ENTRIES = dict(ENTRY.findall(PAGE))
TEXTS = re.findall(r"^\| `(.+?)` \|", PAGE, re.MULTILINE)


def codes() -> Iterator[tuple[str, int]]:
    """Every code that a person may see, and its exit code."""
    waiting = [DeepSignsError]
    while waiting:
        kind = waiting.pop()
        yield kind.code, kind.exit_code
        waiting += kind.__subclasses__()
    yield boundary._USAGE, errors.ConfigurationError.exit_code


def said() -> str:
    """All text in the sources, each variable part as a line's end."""
    parts = []
    for path in sorted(path for folder in SOURCES for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts = (getattr(value, "value", "\n") for value in node.values)
                parts.append("".join(text if isinstance(text, str) else "\n" for text in texts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts.append(node.value)
    return "\n".join(parts)


def test_every_code_has_its_entry() -> None:
    assert set(ENTRIES) == {code for code, _ in codes()}


@pytest.mark.parametrize(("code", "exit_code"), sorted(set(codes()) - {("error", 3)}))
def test_the_entry_names_the_exit_code(code: str, exit_code: int) -> None:
    assert ENTRIES[code].startswith(f"Exit code {exit_code}")


def test_every_text_is_a_real_one() -> None:
    everything = said()
    unknown = [
        text
        for text in TEXTS
        if not all(part in everything for part in text.split("...") if part.strip())
    ]
    assert len(TEXTS) > 60
    assert unknown == []
