"""What a claim is multiplied by: nothing that a claimant tried comes for free."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deepsigns_registry.attestation.chain import START, Chain, Entry
from deepsigns_registry.attestation.statement import (
    ChainHead,
    ClaimPredicate,
    WatermarkPredicate,
)
from deepsigns_registry.errors import ConfigurationError, TamperedError
from deepsigns_registry.evidence.price import Price, place_of, price_of
from tests.support.attested import watermark_predicate

ALICE, BOB, CAROL = "a" * 64, "b" * 64, "c" * 64
FILE, OTHER = Path("archived.json"), Path("other.json")


def _commitments(number: int) -> dict[str, str]:
    return {"spread": f"{number:064x}"}


def _chain(*owners: str, first: int = 1, before: Mapping[str, int] | None = None) -> Chain:
    """Entries of these owners; the commitments of each say its number."""
    counts, previous, entries = dict(before or {}), START if first == 1 else "9" * 64, []
    for number, owner in enumerate(owners, start=first):
        counts[owner] = counts.get(owner, 0) + 1
        entries.append(
            Entry(number, owner, counts[owner], _commitments(number), "2026-01-01", previous)
        )
        previous = entries[-1].digest
    return Chain(tuple(entries))


def _attestation(
    owner: str, index: int, number: int, entry: str | None = None
) -> WatermarkPredicate:
    return watermark_predicate(
        owner=owner,
        commitment_index=index,
        commitments=_commitments(number),
        commitment_entry=entry,
    )


def _price(
    predicate: WatermarkPredicate,
    chains: Sequence[Chain],
    *,
    scanned: int = 1,
    archived: Mapping[Path, WatermarkPredicate] | None = None,
    owner_keys: Sequence[str] = (),
) -> Price:
    claim = ClaimPredicate(
        owner=predicate.owner,
        owners=tuple(sorted({predicate.owner}.union(*(chain.spans for chain in chains)))),
        attestation="0" * 64,
        schemes=("spread",),
        scanned=scanned,
        commitments=1,
        chains=tuple(ChainHead(head=c.head, entries=c.entries[-1].number) for c in chains),
        tool="t/1",
        created_at="2026-01-01T00:00:00Z",
    )
    return price_of(predicate, claim, chains, archived=archived, owner_keys=owner_keys)


def test_every_commitment_of_the_chain_counts_also_those_after_the_attestation() -> None:
    price = _price(_attestation(ALICE, 2, 2), [_chain(ALICE, ALICE, ALICE, BOB)], scanned=7)
    assert (price.scanned, price.commitments, price.tries) == (7, 4, 28)
    assert price.owners == {ALICE: 3, BOB: 1}
    assert price.stated
    assert not price.unknown


def test_the_chains_of_all_keys_are_added_up() -> None:
    price = _price(_attestation(ALICE, 1, 1), [_chain(ALICE, BOB), _chain(CAROL, ALICE, CAROL)])
    assert price.commitments == 5
    assert price.owners == {ALICE: 2, BOB: 1, CAROL: 2}


def test_a_chain_that_is_given_twice_counts_once() -> None:
    chain = _chain(ALICE, BOB, ALICE)
    older = Chain(chain.entries[:2])
    price = _price(_attestation(ALICE, 1, 1), [chain, older])
    assert (price.commitments, price.owners) == (3, {ALICE: 2, BOB: 1})


def test_entries_that_are_not_shown_count_and_are_named() -> None:
    chain = _chain(BOB, ALICE, first=11, before={ALICE: 6, BOB: 2})
    price = _price(_attestation(ALICE, 7, 12), [chain])
    assert price.commitments == 12
    assert price.owners == {ALICE: 7, BOB: 3}
    assert "chain 0: 10 entries before its first are counted, but not shown" in price.notes


def test_a_lower_index_than_the_chains_is_tampering() -> None:
    chains = [_chain(ALICE, ALICE, ALICE)]
    assert place_of(_attestation(ALICE, 3, 3), chains, "it") is not None
    for index in (1, 2, 4):
        with pytest.raises(TamperedError, match=f"it is commitment {index} .* says 3"):
            place_of(_attestation(ALICE, index, 3), chains, "it says that")


def test_the_entry_that_an_attestation_names_fixes_what_stands_before_it() -> None:
    honest = _chain(ALICE, ALICE, ALICE)
    attested = _attestation(ALICE, 3, 3, honest.head)
    assert "names its entry" in str(place_of(attested, [honest], "it"))
    # The same commitments at the same place, after others than there were.
    forged = Chain(
        (*_chain(ALICE, BOB).entries[:1], *_chain(ALICE, ALICE, ALICE).entries[1:2])
    ).entries
    third = Entry(3, ALICE, 3, _commitments(3), "2026-01-02", forged[-1].digest)
    with pytest.raises(TamperedError, match="names another entry"):
        place_of(attested, [Chain((*forged, third))], "it")
    assert "does not fix" in str(place_of(_attestation(ALICE, 3, 3), [honest], "it"))


def test_an_attestation_that_the_chain_leaves_out_is_tampering() -> None:
    # Two chains were kept, and the shorter one is shown.
    for index in (1, 2):
        archived = {FILE: _attestation(ALICE, index, 77)}
        with pytest.raises(TamperedError, match=r"archived\.json, commitment .* is not in the"):
            _price(_attestation(ALICE, 1, 1), [_chain(ALICE, ALICE)], archived=archived)


def test_an_attestation_that_is_newer_than_the_chain_raises_the_price() -> None:
    archived = {FILE: _attestation(ALICE, 9, 77), OTHER: _attestation(ALICE, 5, 55)}
    price = _price(_attestation(ALICE, 1, 1), [_chain(ALICE, ALICE)], archived=archived)
    assert price.commitments == 9
    assert price.owners == {ALICE: 9}
    assert price.notes[-2:] == (
        f"3 commitments more of {ALICE}, as the attestation in other.json shows",
        f"4 commitments more of {ALICE}, as the attestation in archived.json shows",
    )


def test_an_archived_attestation_of_the_chain_changes_nothing() -> None:
    archived = {FILE: _attestation(ALICE, 2, 2), OTHER: _attestation(ALICE, 1, 1)}
    chains = [_chain(ALICE, ALICE)]
    attested = _attestation(ALICE, 1, 1)
    assert _price(attested, chains, archived=archived) == _price(attested, chains)


def test_what_is_hidden_is_not_counted_again() -> None:
    chain = _chain(ALICE, first=5, before={ALICE: 4})
    archived = {FILE: _attestation(ALICE, 2, 22)}
    assert _price(_attestation(ALICE, 5, 5), [chain], archived=archived).commitments == 5


def test_a_key_that_the_claimant_does_not_state_leaves_the_price_unknown() -> None:
    attested, chains = _attestation(ALICE, 1, 1), [_chain(ALICE, BOB)]
    assert not _price(attested, chains, owner_keys=[ALICE, BOB]).unknown
    (reason,) = _price(attested, chains, owner_keys=[BOB, CAROL]).unknown
    assert reason.startswith(f"owner key {CAROL}: nothing shows how many")
    # Unless an attestation of it tells.
    archived = {FILE: _attestation(CAROL, 30, 77)}
    price = _price(attested, chains, owner_keys=[CAROL], archived=archived)
    assert not price.unknown
    assert (price.commitments, price.owners[CAROL]) == (32, 30)


def test_a_strangers_attestation_is_a_mistake() -> None:
    archived = {FILE: _attestation(CAROL, 1, 1)}
    with pytest.raises(ConfigurationError, match=f"another owner, {CAROL}; .*--owner-key"):
        _price(_attestation(ALICE, 1, 1), [_chain(ALICE)], archived=archived)


def test_without_chains_the_attestations_are_counted_as_stated() -> None:
    attested = _attestation(ALICE, 4, 1)
    price = price_of(attested, None, ())
    assert (price.tries, price.owners, price.stated) == (4, {ALICE: 4}, False)
    archived = {FILE: _attestation(ALICE, 6, 2), OTHER: attested}
    assert price_of(attested, None, (), archived=archived).tries == 6
    older = {FILE: _attestation(ALICE, 2, 2)}
    assert price_of(attested, None, (), archived=older).tries == 4


def test_who_could_have_made_a_claim_does_not_save_its_price_by_leaving_it_out() -> None:
    chain = _chain(ALICE)
    price = price_of(_attestation(ALICE, 1, 1, chain.head), None, ())
    assert len(price.unknown) == 1
    assert "states what was scanned" in price.unknown[0]
    assert not price_of(_attestation(ALICE, 1, 1), None, ()).unknown


def test_two_attestations_of_one_number_contradict_each_other() -> None:
    attested = _attestation(ALICE, 4, 1)
    with pytest.raises(TamperedError, match="commitment 4 of its owner, and so is another"):
        price_of(attested, None, (), archived={FILE: _attestation(ALICE, 4, 2)})
    twice = {FILE: _attestation(BOB, 1, 1), OTHER: _attestation(BOB, 1, 2)}
    with pytest.raises(TamperedError, match="commitment 1 of its owner, and so is another"):
        price_of(attested, None, (), archived=twice, owner_keys=[BOB])
