"""The tutorial is followed literally: its blocks are run in order, in an empty folder."""

import time
from pathlib import Path

import pytest

from tests.support.reader import reader
from tests.support.samples import blocks

pytestmark = [pytest.mark.deep, pytest.mark.integration]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_tutorial_does_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = blocks(PAGE)
    assert sum(block.language == "bash" for block in page) >= 8
    assert sum(block.language == "text" for block in page) >= 6
    started = time.monotonic()
    with reader(tmp_path) as person:
        for block in page:
            person.follow(block)
    with capsys.disabled():
        seconds = time.monotonic() - started
        print(f"\ntutorial: {seconds:.0f} s without the installation")  # noqa: T201
