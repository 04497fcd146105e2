"""What fuzzing found once is never found again; a little of it is run each time."""

import random
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.properties import fault_of
from tests.fuzz.targets import Target, make_targets

FINDINGS = sorted(path.relative_to(CORPUS) for path in CORPUS.glob("*/*"))
NAMES = sorted({path.parts[0] for path in FINDINGS})


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return make_targets(tmp_path_factory.mktemp("fuzz"))


def test_every_kept_file_belongs_to_a_target(targets: dict[str, Target]) -> None:
    assert set(NAMES) <= set(targets)
    wanted = {"bundle", "statement", "onnx", "evidence", "configuration", "tags"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("path", FINDINGS, ids=str)
def test_what_was_found_before_is_one_line_now(targets: dict[str, Target], path: Path) -> None:
    fault = fault_of(targets[path.parts[0]], (CORPUS / path).read_bytes())
    assert fault is None, fault


@pytest.mark.parametrize("name", NAMES)
def test_a_few_mutants_of_good_files(targets: dict[str, Target], name: str) -> None:
    target, chance = targets[name], random.Random(0)  # noqa: S311 - the same each time
    for number in range(30):
        content = target.mutate(chance.choice(target.seeds), chance)
        fault = fault_of(target, content)
        assert fault is None, (number, fault)


@pytest.mark.parametrize("name", ["onnx", "mlmodel", "tags", "configuration", "chain", "key"])
def test_the_good_files_themselves_are_read(targets: dict[str, Target], name: str) -> None:
    for content in targets[name].seeds:
        assert fault_of(targets[name], content) is None
