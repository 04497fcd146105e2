from pathlib import Path

import pytest

from benchmarks.catalogue import KINDS
from benchmarks.plan import CRITERIA, planned
from benchmarks.scale import FULL, QUICK
from benchmarks.thieves import plan as thieves
from benchmarks.units import Store, Unit, code_digest, ordered

PARENT = Unit("parent", "mlp")
MARKED = Unit("marked", "mlp", needs=(PARENT,))


def store(folder: Path, **changed: object) -> Store:
    return Store(folder, {"parent": {"epochs": 3}, "marked": {"bits": 128}} | changed)


def test_an_outcome_is_kept_with_its_files(tmp_path: Path) -> None:
    first = store(tmp_path)
    assert first.outcome(MARKED) is None
    first.write(MARKED, "record", b"secret")
    first.keep(MARKED, [1, 2], seconds=3.0)
    again = store(tmp_path)
    assert again.outcome(MARKED) == [1, 2]
    assert again.read(MARKED, "record") == b"secret"
    assert again.outcome(PARENT) is None


def test_changed_settings_make_what_depends_on_them_stale(tmp_path: Path) -> None:
    for unit in (PARENT, MARKED):
        store(tmp_path).keep(unit, [], seconds=0.0)
    marked_differently = store(tmp_path, marked={"bits": 256})
    assert marked_differently.outcome(PARENT) == []
    assert marked_differently.outcome(MARKED) is None
    trained_differently = store(tmp_path, parent={"epochs": 4})
    assert trained_differently.outcome(PARENT) is None
    assert trained_differently.outcome(MARKED) is None


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.keep(PARENT, [1], seconds=0.0)
    path = tmp_path / f"{PARENT.name}.json"
    path.write_bytes(path.read_bytes()[:-5])
    assert kept.outcome(PARENT) is None


def test_what_is_needed_comes_first_and_once() -> None:
    assert ordered([MARKED, PARENT, MARKED]) == [PARENT, MARKED]


def test_comments_do_not_change_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    texts = ('"""One."""\nx = 1\n', "# two\n\nx = 1", "x = 2\n")
    digests = []
    for number, text in enumerate(texts):
        folder = tmp_path / f"digested{number}"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "part.py").write_text(text)
        digests.append(code_digest([f"digested{number}"]))
    assert digests[0] == digests[1] != digests[2]


def test_the_quick_run_measures_what_the_full_run_does() -> None:
    def named(units: list[Unit]) -> set[tuple[str, str, str]]:
        return {(unit.kind, unit.model, unit.setting) for unit in ordered(units)}

    quick = planned(CRITERIA, ("mlp", "cnn"), QUICK)
    assert named(quick) == named(planned(CRITERIA, ("mlp", "cnn"), FULL))
    kinds = {unit.kind for unit in ordered([*quick, *thieves.planned(thieves.MODELS, FULL)])}
    assert kinds == set(KINDS)


def test_names_of_units_differ() -> None:
    units = ordered(planned(CRITERIA, ("mlp", "cnn"), FULL))
    assert len({unit.name for unit in units}) == len(units)
