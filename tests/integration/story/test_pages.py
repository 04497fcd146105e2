"""Pages that go on from the demo do what they say: the drills of keys, samples of the README."""

import re
import shutil
from pathlib import Path

import pytest

from tests.support.reader import reader
from tests.support.samples import blocks, fits, sessions
from tests.support.story import Deepsigns, Demo

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def test_the_drills_of_the_page_on_keys(demo: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    shutil.copytree(demo.folder, folder, ignore=shutil.ignore_patterns("mlflow", "audits"))
    page = blocks(ROOT / "docs" / "keys.md")
    assert sum(block.language == "text" for block in page) >= 5
    with reader(folder) as person:
        for block in page:
            person.follow(block)


def readme_sessions() -> dict[str, str]:
    """The commands that the README shows, each with the sample of what it prints."""
    texts = [block.text for block in blocks(ROOT / "README.md") if not block.language]
    return {command: printed for text in texts for command, printed in sessions(text)}


def test_the_readme_shows_what_the_demo_prints(demo: Demo) -> None:
    # Of a hundred unmarked models one or two are undecided.
    printed = re.sub(r"^(unmarked .*)undecided$", r"\1absent", demo.printed, flags=re.MULTILINE)
    assert fits(readme_sessions()[".venv/bin/deepsigns demo --out DIR"] + "...", printed)


@pytest.mark.parametrize("words", ["gate models:/digits@champion", "verify deployed/model.onnx"])
def test_the_readme_shows_what_commands_print(demo: Demo, deepsigns: Deepsigns, words: str) -> None:
    done = deepsigns(*words.split(), folder=demo.folder)
    assert done.code == 0, done.err
    assert fits(readme_sessions()[f"deepsigns {words}"], done.out)
