import hashlib
import json
import multiprocessing
from pathlib import Path

import pytest

from deepsigns_registry.attestation.commitment import CommitmentLog
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, TamperedError

ALICE, BOB = b"a" * 32, b"b" * 32


def _commitments(number: int) -> dict[str, str]:
    return {"whitebox": f"{number:064x}", "blackbox": f"{number + 10**6:064x}"}


@pytest.fixture
def log(tmp_path: Path) -> CommitmentLog:
    return CommitmentLog(tmp_path / "store" / "commitments.jsonl")


def test_every_owner_is_counted_alone(log: CommitmentLog) -> None:
    assert log.count(ALICE) == 0
    assert [log.append(ALICE, _commitments(n)) for n in range(3)] == [1, 2, 3]
    assert log.append(BOB, _commitments(9)) == 1
    assert log.append(ALICE, _commitments(3)) == 4
    assert (log.count(ALICE), log.count(BOB)) == (4, 1)


def test_a_repeated_commitment_keeps_its_index(log: CommitmentLog) -> None:
    for number in (1, 2, 1):
        index = log.append(ALICE, _commitments(number))
    assert index == 1
    assert log.count(ALICE) == 2


def test_an_entry_dropped_from_the_middle_is_noticed(log: CommitmentLog) -> None:
    for number in range(4):
        log.append(ALICE, _commitments(number))
    lines = log.path.read_bytes().splitlines(keepends=True)
    for changed in (lines[1:], lines[:1] + lines[2:], lines[::-1], [*lines, lines[3]]):
        log.path.write_bytes(b"".join(changed))
        with pytest.raises(TamperedError, match="chain of commitments is broken"):
            log.count(ALICE)
        with pytest.raises(TamperedError, match="chain of commitments is broken"):
            log.append(ALICE, _commitments(9))


def test_an_entry_replaced_by_a_sound_one_breaks_the_next(log: CommitmentLog) -> None:
    for number in range(3):
        log.append(ALICE, _commitments(number))
    lines = log.path.read_text().splitlines()
    entry = json.loads(lines[1])
    del entry["digest"]
    entry["commitments"] = _commitments(99)
    plain = json.dumps(entry, sort_keys=True, separators=(",", ":")) + "\n"
    domain = b"deepsigns-registry/commitment-log/v0\n"
    entry["digest"] = hashlib.sha256(domain + plain.encode()).hexdigest()
    lines[1] = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    log.path.write_text("\n".join(lines[:2]) + "\n")
    assert log.count(ALICE) == 2  # it is sound by itself
    log.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TamperedError, match="broken at entry 3"):
        log.count(ALICE)


def test_another_spelling_of_an_entry_is_a_broken_chain(log: CommitmentLog) -> None:
    log.append(ALICE, _commitments(1))
    log.path.write_text(json.dumps(json.loads(log.path.read_text())) + "\n")
    with pytest.raises(TamperedError, match="broken at entry 1"):
        log.count(ALICE)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"[]\n", b"[" * 9999 + b"\n", b"\xff\n"])
def test_a_file_of_something_else_is_a_broken_chain(log: CommitmentLog, content: bytes) -> None:
    log.path.parent.mkdir()
    log.path.write_bytes(content)
    with pytest.raises(TamperedError, match="broken at entry 1"):
        log.count(ALICE)


@pytest.mark.parametrize("commitments", [{}, {"whitebox": "xyz"}, {"whitebox": "A" * 64}])
def test_malformed_commitments_are_not_recorded(
    log: CommitmentLog, commitments: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="expected 64 hexadecimal digits"):
        log.append(ALICE, commitments)
    with pytest.raises(ConfigurationError, match="not 32 bytes"):
        log.append(b"short", _commitments(1))
    assert not log.path.exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CouldNotCheckError, match="cannot be locked"):
        CommitmentLog(tmp_path / "file" / "log").append(ALICE, _commitments(1))


def _append_many(path: Path, start: int) -> None:
    log = CommitmentLog(path)
    for number in range(start, start + 10):
        log.append(ALICE, _commitments(number))


def test_two_workers_lose_no_entry(log: CommitmentLog) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_append_many, args=(log.path, start)) for start in (0, 100, 200)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert log.count(ALICE) == 30
