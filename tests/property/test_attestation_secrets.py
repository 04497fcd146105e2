"""Sealing gives back what went in, or refuses; the commitment chain shows every change."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsigns_registry.attestation.commitment import CommitmentLog
from deepsigns_registry.attestation.sealing import generate_identity, seal, unseal
from deepsigns_registry.errors import CouldNotCheckError, TamperedError

CONTEXTS = st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=4)
OWNERS = st.sampled_from([b"a" * 32, b"b" * 32])


@given(secret=st.binary(max_size=2000), context=CONTEXTS)
@settings(max_examples=50, deadline=None)
def test_what_is_sealed_comes_back(secret: bytes, context: dict[str, str]) -> None:
    identity, recipient = generate_identity()
    assert unseal(seal(secret, [recipient], context), identity, context) == secret


@given(secret=st.binary(max_size=50), context=CONTEXTS, other=CONTEXTS)
@settings(max_examples=50, deadline=None)
def test_only_the_same_context_opens(
    secret: bytes, context: dict[str, str], other: dict[str, str]
) -> None:
    identity, recipient = generate_identity()
    sealed = seal(secret, [recipient], context)
    if other == context:
        assert unseal(sealed, identity, other) == secret
    else:
        with pytest.raises(TamperedError, match="another owner or request"):
            unseal(sealed, identity, other)


def test_every_byte_of_a_sealed_file_counts() -> None:
    identity, recipient = generate_identity()
    sealed = seal(b"secret", [recipient], {"request": "r1"})
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises((TamperedError, CouldNotCheckError), match="unsealing"):
            unseal(bytes(changed), identity, {"request": "r1"})
        with pytest.raises((TamperedError, CouldNotCheckError), match="unsealing"):
            unseal(sealed[:position], identity, {"request": "r1"})


@given(entries=st.lists(st.tuples(OWNERS, st.integers(0, 8)), max_size=12))
@settings(max_examples=25, deadline=None)
def test_the_counter_agrees_with_a_plain_list(entries: list[tuple[bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = CommitmentLog(Path(folder) / "commitments.jsonl")
        known: dict[bytes, list[int]] = {b"a" * 32: [], b"b" * 32: []}
        for owner, number in entries:
            if number not in known[owner]:
                known[owner].append(number)
            index = log.append(owner, {"whitebox": f"{number:064x}"})
            assert index == known[owner].index(number) + 1
        for owner, numbers in known.items():
            assert log.count(owner) == len(numbers)


@pytest.fixture(scope="module")
def chain() -> Iterator[CommitmentLog]:
    with tempfile.TemporaryDirectory() as folder:
        log = CommitmentLog(Path(folder) / "commitments.jsonl")
        for number in range(4):
            log.append(b"a" * 32, {"whitebox": f"{number:064x}"})
        yield log


def test_every_byte_of_the_chain_counts(chain: CommitmentLog) -> None:
    original = chain.path.read_bytes()
    for position in range(len(original)):
        changed = bytearray(original)
        changed[position] ^= 1
        chain.path.write_bytes(changed)
        with pytest.raises(TamperedError, match="chain of commitments is broken"):
            chain.count(b"a" * 32)
    chain.path.write_bytes(original)
    assert chain.count(b"a" * 32) == 4


@given(where=st.integers(0, 2000), length=st.integers(0, 300), inserted=st.binary(max_size=20))
@settings(max_examples=150, deadline=None)
def test_a_changed_stretch_of_the_chain_is_tampering(
    chain: CommitmentLog, where: int, length: int, inserted: bytes
) -> None:
    original = chain.path.read_bytes()
    start = where % len(original)
    rest = original[start + length :]
    changed = original[:start] + inserted + rest
    chain.path.write_bytes(changed)
    try:
        # Whole entries missing at the end are shown by the signed attestations alone.
        if original.startswith(changed) and changed.endswith(b"\n"):
            assert chain.count(b"a" * 32) == changed.count(b"\n")
        else:
            with pytest.raises(TamperedError, match="chain of commitments is broken"):
                chain.count(b"a" * 32)
    finally:
        chain.path.write_bytes(original)
