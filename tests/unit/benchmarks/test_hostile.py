"""Hostile files: a few of each kind, and that what must not be is noticed."""

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from benchmarks.hostile import command
from benchmarks.hostile.case import DEADLINE, Case, Outcome
from benchmarks.hostile.evidence import GOLDEN, altered, is_the_original
from benchmarks.hostile.graphs import seed_of, seeds
from benchmarks.hostile.mutants import mutated
from benchmarks.hostile.owner import write_owner
from benchmarks.hostile.pool import read_all
from benchmarks.hostile.reading import Reader
from benchmarks.hostile.tricks import TRICKS
from benchmarks.hostile.worker import descendants


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("owner")
    write_owner(folder)
    return folder


def test_the_seeds_are_models_that_can_be_read_unless_they_branch(owner: Path) -> None:
    reader, said = Reader(owner), []
    for number, model in enumerate(seeds(owner)):
        onnx.checker.check_model(model, full_check=True)
        path = owner / f"seed-{number}.onnx"
        path.write_bytes(model.SerializeToString())
        words, accepted, traceback = reader.read(Case("mutant", str(number)), path)
        assert not accepted
        assert not traceback
        said.append(words.partition(":")[0])
    assert said[0] == "absent"
    # Of another network nobody can say where the tap is.
    assert set(said[1:5]) <= {"absent", "undecided"}
    assert said[5:] == ["CouldNotCheckError"] * 2


def test_mutants_are_many_and_the_same_again(owner: Path) -> None:
    known = seeds(owner)
    made = [mutated(seed_of(known, number), number) for number in range(140)]
    again = [mutated(seed_of(known, number), number) for number in range(140)]
    assert made == again
    assert len(set(made)) > 130


def test_mutants_of_evidence_are_many_and_the_same_again() -> None:
    made = [altered(number) for number in range(30)]
    assert made == [altered(number) for number in range(30)]
    assert len(set(made)) > 25
    assert is_the_original(GOLDEN / "evidence.zip")


def test_a_run_counts_what_it_reads(owner: Path, tmp_path: Path) -> None:
    cases = [
        *(Case("mutant", str(number)) for number in range(7)),
        *(Case("evidence", str(number)) for number in range(4)),
        *(Case("trick", name) for name in ("pipe", "endless_loop", "outside_in_a_sparse_tensor")),
    ]
    told: list[Case] = []
    found = read_all(cases, owner, tmp_path, workers=1, told=lambda case, _: told.append(case))
    assert told == cases
    summary = command.summary_of(found, 0, 0)
    faults = {case: outcome for case, outcome in found.items() if outcome.faults}
    assert not faults
    assert list(summary) == [
        *("files", "accepted", "tracebacks", "escapes", "over_time", "over_memory"),
        *("left_processes", "lookups", "max_seconds", "max_mib"),
    ]
    assert summary["files"] == len(cases)
    assert summary["max_mib"] >= 0


def test_a_process_that_ends_is_a_fault_and_the_next_file_is_read(
    owner: Path, tmp_path: Path
) -> None:
    """There is no such mutant, and whoever makes it is none of the reader's errors."""
    cases = [Case("mutant", "none"), Case("mutant", "3")]
    found = read_all(cases, owner, tmp_path, workers=1, told=lambda *_: None)
    assert found[cases[0]].faults == ("tracebacks",)
    assert "ended with" in found[cases[0]].said
    assert not found[cases[1]].faults


def test_faults_are_counted_by_their_names() -> None:
    outcomes = {
        Case("trick", "a"): Outcome(accepted=True, lookups=2, grown=2**31),
        Case("trick", "b"): Outcome(traceback="x", left=3, seconds=1.6 * DEADLINE),
        Case("trick", "c"): Outcome(room=2**32),
        Case("trick", "d"): Outcome(seconds=1.4 * DEADLINE, room=2**30, grown=2**30),
        Case("trick", "e"): Outcome(seconds=1.6 * DEADLINE, waited=0.2 * DEADLINE),
    }
    summary = command.summary_of(outcomes, 4, 1)
    assert summary == {
        "files": 5,
        "accepted": 1,
        "tracebacks": 1,
        "escapes": 4,
        "over_time": 1,
        "over_memory": 2,
        "left_processes": 3,
        "lookups": 3,
        "max_seconds": 32.0,
        "max_mib": 4096,
    }


def test_descendants_are_found() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as child:
        assert child.pid in descendants(os.getpid())
    assert child.pid not in descendants(os.getpid())


def test_there_are_enough() -> None:
    assert len(TRICKS) >= 60
    counts = dict.fromkeys(("mutant", "trick", "evidence"), 0)
    for case in command.cases_of(quick=False):
        counts[case.kind] += 1
    assert counts["mutant"] >= 1000
    assert counts["evidence"] >= 500
    quick = command.cases_of(quick=True)
    assert {case for case in quick if case.kind == "trick"} == {
        Case("trick", name) for name in TRICKS
    }
    assert len(quick) < 350
