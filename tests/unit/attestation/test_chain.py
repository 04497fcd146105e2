"""What is read of a chain that anybody may have written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepsigns_registry.attestation.chain import (
    START,
    Chain,
    Entry,
    distinct,
    read_chain,
)
from deepsigns_registry.attestation.commitment import CommitmentLog
from deepsigns_registry.errors import TamperedError

ALICE, BOB = "a" * 64, "b" * 64


def _chain(*owners: str, first: int = 1, before: dict[str, int] | None = None) -> bytes:
    """Entries of these owners, the first of them with this number."""
    counts = dict(before or {})
    previous = START if first == 1 else "9" * 64
    lines = []
    for number, owner in enumerate(owners, start=first):
        counts[owner] = counts.get(owner, 0) + 1
        entry = Entry(
            number, owner, counts[owner], {"spread": f"{number:064x}"}, "2026-01-01", previous
        )
        previous = entry.digest
        lines.append(entry.line)
    return "".join(lines).encode()


def _read(content: bytes, *, partial: bool = True) -> Chain:
    return read_chain(content, "chain", advice="ask again", partial=partial)


def test_a_key_stores_own_file_is_read(tmp_path: Path) -> None:
    log = CommitmentLog(tmp_path / "commitments.jsonl")
    for number, owner in enumerate((ALICE, BOB, ALICE)):
        log.append(bytes.fromhex(owner), {"spread": f"{number:064x}"})
    chain = _read(log.content(), partial=False)
    assert [entry.index for entry in chain.entries] == [1, 1, 2]
    assert (chain.count(ALICE), chain.count(BOB), chain.count("c" * 64)) == (2, 1, 0)
    assert chain.spans == {ALICE: (1, 2), BOB: (1, 1)}
    assert (chain.hidden, distinct([chain])) == (0, 3)
    entry = log.entry(bytes.fromhex(BOB), {"spread": f"{1:064x}"})
    assert chain.find(BOB, entry.commitments) == entry
    assert chain.find(ALICE, entry.commitments) is None
    assert chain.head == chain.entries[-1].digest
    assert "".join(each.line for each in chain.entries).encode() == log.content()


def test_what_stands_before_the_first_line_counts() -> None:
    chain = _read(_chain(ALICE, BOB, ALICE, first=8, before={ALICE: 4, BOB: 3}))
    assert (chain.hidden, distinct([chain])) == (7, 10)
    assert (chain.count(ALICE), chain.spans[BOB]) == (6, (4, 4))


def test_entries_that_stand_in_two_chains_count_once() -> None:
    whole = _chain(ALICE, ALICE, BOB)
    start = b"".join(whole.splitlines(keepends=True)[:2])
    assert distinct([_read(whole), _read(start)]) == 3
    assert distinct([_read(whole), _read(_chain(BOB))]) == 4


def test_a_whole_chain_starts_at_its_start() -> None:
    content = _chain(ALICE, first=2)
    with pytest.raises(TamperedError, match=r"chain: the chain .* broken at entry 1; ask again"):
        _read(content, partial=False)


@pytest.mark.parametrize(
    "content",
    [
        _chain(ALICE, first=3, before={ALICE: 3}),
        _chain(ALICE, BOB, first=3, before={ALICE: 2, BOB: 1}),
        _chain(ALICE, before={ALICE: 1}),
        _chain(ALICE, BOB).replace(b'"number":1', b'"number":2'),
        b"",
    ],
)
def test_more_cannot_stand_before_than_there_is_room(content: bytes) -> None:
    with pytest.raises(TamperedError, match="broken at entry 1"):
        _read(content)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a truth value": lambda e: e.update(number=True, index=True),
    "a fraction": lambda e: e.update(number=1.0),
    "no number": lambda e: e.update(number="1"),
    "beyond counting": lambda e: e.update(number=2**53 + 1, previous="9" * 64),
    "below one": lambda e: e.update(index=0),
    "an owner of another form": lambda e: e.update(owner="A" * 64),
    "no owner": lambda e: e.update(owner=None),
    "no commitments": lambda e: e.update(commitments={}),
    "a commitment of another form": lambda e: e.update(commitments={"spread": 1}),
    "a list": lambda e: e.update(commitments=["0" * 64]),
    "no date": lambda e: e.update(at=5),
    "another link": lambda e: e.update(previous="8" * 64),
    "one more field": lambda e: e.update(more=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_entry_with_a_good_digest_and_another_form_is_broken(change: str) -> None:
    import hashlib

    entry = json.loads(_chain(ALICE))
    del entry["digest"]
    CHANGES[change](entry)
    plain = json.dumps(entry, sort_keys=True, separators=(",", ":")) + "\n"
    domain = b"deepsigns-registry/commitment-log/v0\n"
    entry["digest"] = hashlib.sha256(domain + plain.encode()).hexdigest()
    line = json.dumps(entry, sort_keys=True, separators=(",", ":")) + "\n"
    with pytest.raises(TamperedError, match="broken at entry 1"):
        _read(line.encode())
