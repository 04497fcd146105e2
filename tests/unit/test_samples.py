"""The comparison of sample output finds what differs, and forgives what varies."""

from pathlib import Path

import pytest

from tests.support.samples import Block, blocks, fits, sessions

_PRINTED = "marked from digits/1\nlog10 p -38.5, adjusted -37.9\nat 2026-11-26 09:01:39 UTC\n"


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (_PRINTED, True),
        (_PRINTED.replace("-38.5", "-7.25").replace("09:01", "23:59"), True),
        ("...\nat 2020-01-01 00:00:00 UTC", True),
        ("marked from digits/1\n...", True),
        ("marked from .../1\n...", True),
        ("marked from ...\nlog10 ...\nat ... UTC", True),
        ("marked from .../1", False),
        ("marked from digits/1", False),
        (_PRINTED.replace("adjusted", "counted"), False),
        (_PRINTED.replace("marked from digits/1\n", ""), False),
    ],
)
def test_figures_vary_and_words_do_not(sample: str, expected: bool) -> None:
    assert fits(sample, _PRINTED) is expected


def test_blocks_and_sessions_are_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        'x\n```python title="a.py"\nx = 1\n```\n1. y\n\n    ```bash\n    z\n      z\n    ```\n'
        "```\n$ one\n1\n$ two\n```\n"
    )
    assert blocks(page) == [
        Block("python", "a.py", "x = 1\n"),
        Block("bash", "", "z\n  z\n"),
        Block("", "", "$ one\n1\n$ two\n"),
    ]
    assert list(sessions(blocks(page)[2].text)) == [("one", "1\n"), ("two", "")]
