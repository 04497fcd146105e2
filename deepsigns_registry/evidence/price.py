"""What a p-value is multiplied by besides the ways of reading: suspects and commitments.

A claimant who looked at a thousand files, or committed to a thousand secrets, had a thousand
chances to find a match. What is signed and what the chain of commitments shows is counted; what
is not shown is counted as signed attestations state it, and said.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepsigns_registry.attestation.chain import Chain, distinct
from deepsigns_registry.attestation.statement import ClaimPredicate, WatermarkPredicate
from deepsigns_registry.errors import ConfigurationError, TamperedError

__all__ = ["Price", "place_of", "price_of"]


@dataclass(frozen=True)
class Price:
    """How often the claimant could have tried, before any way of reading is counted.

    Attributes:
        scanned: Suspects that were looked at; 1 when that is not stated.
        commitments: How many are counted, over all owner keys of the claimant; at least 1.
        owners: Owner key of the claimant (hex) -> how many of the commitments it made.
        stated: Whether the claimant states, under a signature, what was scanned.
        notes: How each number is known, one sentence each.
        unknown: Why the price is not known, one sentence each; while there is one, nothing is
            `present`.
    """

    scanned: int
    commitments: int
    owners: Mapping[str, int]
    stated: bool = False
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def tries(self) -> int:
        """Suspects x commitments."""
        return self.scanned * self.commitments

    def to_json(self) -> dict[str, object]:
        """The price as plain values."""
        return {
            "tries": self.tries,
            "scanned": self.scanned,
            "scanned_stated": self.stated,
            "commitments": self.commitments,
            "owners": dict(self.owners),
            "notes": list(self.notes),
            "unknown": list(self.unknown),
        }


def price_of(
    predicate: WatermarkPredicate,
    claim: ClaimPredicate | None,
    chains: Sequence[Chain],
    *,
    archived: Mapping[Path, WatermarkPredicate] | None = None,
    owner_keys: Iterable[str] = (),
) -> Price:
    """The price of a claim.

    Args:
        predicate: The attestation whose commitments are opened.
        claim: What the claimant states; its signature is good. None in files of format v1.
        chains: The chains of commitments that came with it; `place_of` has found the
            attestation in them. None in files of format v1.
        archived: Other attestations with good signatures that the verifier had before, by file.
        owner_keys: Identities (hex) that the verifier knows to be the claimant's.

    Raises:
        ConfigurationError: An archived attestation is of an owner that nobody names.
        TamperedError: An archived attestation contradicts the chains or another attestation.
    """
    tally = _stated(predicate) if claim is None else _shown(claim, chains)
    asked = frozenset(owner_keys)
    by_index = sorted((archived or {}).items(), key=lambda item: item[1].commitment_index)
    for path, other in by_index:
        if other.owner not in asked | tally.owners.keys():
            raise ConfigurationError(
                f"{path}: is an attestation of another owner, {other.owner}",
                advice="if that key is the claimant's too, name it with --owner-key",
            )
        tally.add(other, chains, f"the attestation in {path}")
    unknown = [
        f"owner key {owner}: nothing shows how many commitments it made; ask for evidence "
        "that counts them, or give an attestation of it with --archived"
        for owner in sorted(asked - tally.owners.keys())
    ]
    if claim is None and predicate.commitment_entry is not None:
        unknown.append(
            "the attestation is of a time when evidence held a claim, and this holds none; ask for "
            "evidence that states what was scanned"
        )
    return Price(
        scanned=1 if claim is None else claim.scanned,
        commitments=tally.commitments,
        owners=tally.owners,
        stated=claim is not None,
        notes=tuple(tally.notes),
        unknown=tuple(unknown),
    )


@dataclass
class _Tally:
    """What is counted so far.

    Attributes:
        commitments: Over all owners.
        owners: Owner (hex) -> how many of them it made.
        reach: Owner (hex) -> the highest index that is counted.
        numbered: Owner and index -> commitments of the attestations that no chain holds.
        notes: How it is known.
    """

    commitments: int
    owners: dict[str, int]
    reach: dict[str, int]
    numbered: dict[tuple[str, int], dict[str, str]]
    notes: list[str]

    def add(self, other: WatermarkPredicate, chains: Sequence[Chain], what: str) -> None:
        """Counts what an attestation tells of, and the chains do not; lower indices first."""
        owner, index = other.owner, other.commitment_index
        if place_of(other, chains, what) is not None:
            return
        same = self.numbered.setdefault((owner, index), other.commitments)
        if same is not other.commitments:
            if same == other.commitments:
                return
            raise TamperedError(
                f"evidence: {what} is commitment {index} of its owner, and so is another one",
                advice="each of them leaves the other out; believe neither number",
            )
        more = index - self.reach.get(owner, 0)
        if more <= 0:
            # Before the first line that is shown it is counted already; elsewhere it is one more.
            more = int(bool(chains) and not any(_first(owner, each) > index for each in chains))
        if more:
            self.commitments += more
            self.owners[owner] = self.owners.get(owner, 0) + more
            self.reach[owner] = max(index, self.reach.get(owner, 0))
            self.notes.append(f"{more} commitments more of {owner}, as {what} shows")


def _stated(predicate: WatermarkPredicate) -> _Tally:
    owner, index = predicate.owner, predicate.commitment_index
    return _Tally(
        commitments=index,
        owners={owner: index},
        reach={owner: index},
        numbered={(owner, index): predicate.commitments},
        notes=[
            "how many suspects were scanned is not stated: counted as 1",
            f"{index} commitments, as the attestation states; no chain of them shows it",
        ],
    )


def _shown(claim: ClaimPredicate, chains: Sequence[Chain]) -> _Tally:
    commitments = distinct(chains)
    shown = "the chain of them shows" if len(chains) == 1 else f"{len(chains)} chains show"
    notes = [
        f"{claim.scanned} suspects scanned, this one included, as the claim states",
        f"{commitments} commitments, as {shown}",
    ]
    notes += [
        f"chain {number}: {chain.hidden} entries before its first are counted, but not shown"
        for number, chain in enumerate(chains)
        if chain.hidden
    ]
    return _Tally(
        commitments=commitments,
        owners=_counts(claim.owners, chains),
        reach={owner: max(chain.count(owner) for chain in chains) for owner in claim.owners},
        numbered={},
        notes=notes,
    )


def place_of(predicate: WatermarkPredicate, chains: Sequence[Chain], what: str) -> str | None:
    """Where chains hold an attestation's commitments, in a few words.

    Args:
        predicate: The attestation.
        chains: The chains.
        what: Name of the attestation, for messages.

    Returns:
        None when none of them holds it and one of them need not: it is newer than their newest
        entry, or as old as those that are not shown.

    Raises:
        TamperedError: A chain holds it under another number or as another entry than it says,
            or the chains have no place left for it.
    """
    owner, index = predicate.owner, predicate.commitment_index
    found = [chain.find(owner, predicate.commitments) for chain in chains]
    entries = [entry for entry in found if entry is not None]
    for entry in entries:
        if entry.index != index:
            raise TamperedError(
                f"evidence: {what} says that it is commitment {index} of its owner; the chain of "
                f"commitments says {entry.index}",
                advice="one of them leaves commitments out; believe neither number",
            )
        if predicate.commitment_entry not in {None, entry.digest}:
            raise TamperedError(
                f"evidence: {what} names another entry than the chain of commitments holds",
                advice="what stands before that entry was changed after it was signed",
            )
    if entries:
        return f"{what} is commitment {index} of its owner, and " + (
            "names its entry in the chain"
            if predicate.commitment_entry
            else "is of an older form, which does not fix what stands before it"
        )
    holders = [chain for chain in chains if owner in chain.spans]
    if holders and all(_first(owner, each) <= index <= each.count(owner) for each in holders):
        raise TamperedError(
            f"evidence: {what}, commitment {index} of its owner, is not in the chain of "
            "commitments",
            advice="the owner made commitments that this evidence leaves out",
        )
    return None


def _first(owner: str, chain: Chain) -> int:
    """Index of the owner's first entry that is shown; 1 when there is none."""
    return chain.spans.get(owner, (1, 0))[0]


def _counts(owners: Iterable[str], chains: Sequence[Chain]) -> dict[str, int]:
    """Commitments of each owner; what stands in two chains counts once, what is hidden counts."""
    counts = {owner: sum(_first(owner, chain) - 1 for chain in chains) for owner in owners}
    for owner in {entry.digest: entry.owner for each in chains for entry in each.entries}.values():
        counts[owner] += 1
    return counts
