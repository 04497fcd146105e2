"""Looks for an owner's marks in an ONNX file: what `deepsigns verify` and every audit row do.

The key store says which markings belong to a model; each one's sealed record is opened, derived
again and read from the file in a limited process.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Protocol

from deepsigns_registry.attestation.keys import owner_identity
from deepsigns_registry.attestation.keystore import FileKeystore, Marking, open_keystore
from deepsigns_registry.attestation.sealing import load_own_identity
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import (
    CouldNotCheckError,
    DeepSignsError,
    NotFoundError,
    TamperedError,
)
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.guests import reading_schemes
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.suspect import DeclaresRow, Suspect
from deepsigns_registry.watermark.verdict import Verdict, judge, questions

__all__ = [
    "Candidate",
    "Candidates",
    "Examination",
    "FileSuspect",
    "find_candidates",
    "verify_onnx",
]


@dataclass(frozen=True, repr=False)
class Candidate:
    """A marking that the file may carry, with its opened secret.

    Attributes:
        marking: The public half.
        record: The secret half; never logged.
    """

    marking: Marking
    record: WatermarkRecord


@dataclass(frozen=True, repr=False)
class Candidates:
    """All markings of one model, and how often their owner has committed to a secret.

    Attributes:
        owner: Identity of the owner (hex).
        commitments: How many secrets the owner has ever committed to, from the hash chain.
        candidates: At least one.
        unopened: Markings that could not be opened and why, one sentence each; while there is
            one, a mark that was not found is not `absent`.
    """

    owner: str
    commitments: int
    candidates: tuple[Candidate, ...]
    unopened: tuple[str, ...] = ()

    def tries(self, suspects: int = 1) -> int:
        """What a p-value is adjusted for.

        Commitments x suspects x candidates x questions of the schemes. Every candidate is also
        one of the commitments, so this counts on the safe side. Alignments come on top, see
        `Extraction`.

        Args:
            suspects: How many files are scanned, this one included.
        """
        schemes = max(len(candidate.record.secrets) for candidate in self.candidates)
        return max(1, self.commitments) * suspects * len(self.candidates) * questions(schemes)

    def only(self, marking: Marking) -> tuple[Candidate, ...]:
        """The candidate of one marking."""
        return tuple(entry for entry in self.candidates if entry.marking == marking)


class FileSuspect(Suspect, Protocol):
    """A suspect that is a file, read once; see `OnnxSuspect`."""

    digest: str
    providers: tuple[str, ...]
    doors: Doors | None


@dataclass(frozen=True)
class Examination:
    """What was read from one file.

    Attributes:
        verdict: The strongest verdict of all candidates.
        marking: Whose verdict it is; None when no candidate's is `present`.
        exact: The marking whose exported file this is, byte for byte; None for another file.
        digest: SHA-256 (hex) of the bytes that were read.
        providers: Execution providers the session really had.
        doors: What was closed where it ran; None where it did not.
    """

    verdict: Verdict
    marking: Marking | None
    exact: Marking | None
    digest: str
    providers: tuple[str, ...]
    doors: Doors | None = None


def find_candidates(settings: Settings, model: str | None = None) -> Candidates:
    """Opens every marking that a file may carry.

    Args:
        settings: Name the key store, the owner's public key and the unsealing identity.
        model: Registered model; None for every model of the key store.

    Raises:
        ConfigurationError: The owner's public key or the unsealing identity is missing.
        CouldNotCheckError: There is no marking, or none of them can be opened.
        TamperedError: The key store contradicts itself.
    """
    owner = owner_identity(settings.file(settings.owner.public_key))
    identity = load_own_identity(settings.file(settings.owner.unsealing, scheme="age"))
    keystore = open_keystore(settings)
    found = [
        marking
        for marking in keystore.list_markings()
        if marking.owner == owner.hex() and model in {None, marking.model}
    ]
    if not found:
        of = f"of model '{model}' " if model else ""
        raise CouldNotCheckError(
            f"key store {keystore.root}: no finished marking {of}of this owner",
            advice="promote a version of it first, or check [keystore] and [owner] public_key",
        )
    count = keystore.commitments.count(owner)
    candidates: list[Candidate] = []
    unopened: list[CouldNotCheckError] = []
    for marking in found:
        try:
            candidates.append(_open(keystore, marking, identity, count))
        except CouldNotCheckError as error:
            # An older marking may be sealed to a key that was replaced since, or be lost.
            unopened.append(error)
    if not candidates:
        raise unopened[0]
    return Candidates(
        owner.hex(), count, tuple(candidates), tuple(error.message for error in unopened)
    )


def verify_onnx(
    path: Path,
    candidates: Candidates,
    *,
    suspects: int = 1,
    among: Sequence[Candidate] | None = None,
    suspect: FileSuspect | None = None,
    limits: Limits | None = None,
) -> Examination:
    """Reads every candidate's mark from an ONNX file.

    The marking whose exported file has this very digest comes first, and its `present` ends
    the search: nothing more is to be learnt.

    Args:
        path: The file; of unknown origin.
        candidates: From `find_candidates`.
        suspects: How many files are scanned, this one included.
        among: Read only these of the candidates; all are counted nevertheless.
        suspect: A session of this file that is open already.
        limits: What running the file may cost, and reading a third party's scheme.

    Raises:
        NotFoundError: There is no such file.
        CouldNotCheckError: It is no ONNX file, is refused, or no candidate could be read.
    """
    if suspect is None:
        with OnnxSuspect(path, limits=limits) as opened:
            return verify_onnx(
                path, candidates, suspects=suspects, among=among, suspect=opened, limits=limits
            )
    digest = suspect.digest
    tries = candidates.tries(suspects)
    ordered = sorted(
        candidates.candidates if among is None else among,
        key=lambda entry: entry.marking.onnx_digest != digest,
    )
    read: list[tuple[Candidate, Verdict]] = []
    unread: list[CouldNotCheckError] = []
    for candidate in ordered:
        try:
            with reading_schemes(candidate.record.secrets, limits) as schemes:
                verdict = _read(candidate.record, suspect, tries, candidates.unopened, schemes)
        except CouldNotCheckError as error:
            unread.append(error)
            continue
        read.append((candidate, verdict))
        if verdict.word == "present" and candidate.marking.onnx_digest == digest:
            break
    if not read:
        raise unread[0]
    best, verdict = min(read, key=lambda entry: entry[1].strongest)
    # One candidate that could not be read keeps the answer from being "not found"; not one whose
    # model is asked something else than this file is.
    if verdict.word == "absent" and any(entry.word == "undecided" for _, entry in read):
        best, verdict = next(entry for entry in read if entry[1].word == "undecided")
    others = [error for error in unread if not isinstance(error, OtherInputsError)]
    if verdict.word == "absent" and others:
        reasons = (*verdict.reasons, others[0].message)
        verdict = replace(verdict, word="undecided", reasons=reasons)
    exact = [entry.marking for entry in ordered if entry.marking.onnx_digest == digest]
    return Examination(
        verdict=verdict,
        marking=best.marking if verdict.word == "present" else None,
        exact=exact[0] if exact else None,
        digest=digest,
        providers=suspect.providers,
        doors=suspect.doors,
    )


def _open(keystore: FileKeystore, marking: Marking, identity: str, count: int) -> Candidate:
    where = f"key store {keystore.root}: marking '{marking.marking}'"
    try:
        record = WatermarkRecord.from_bytes(keystore.load_record(marking.marking, identity))
        with reading_schemes(record.secrets) as schemes:
            record.check(schemes)
    except NotFoundError as error:
        # A finished marking has a record: one that was lost leaves the question open.
        raise CouldNotCheckError(
            f"{where}: {error.message}", advice="restore it from a backup"
        ) from None
    except DeepSignsError as error:
        raise type(error)(f"{where}: {error.message}", advice=error.advice) from None
    if record.root.owner.hex() != marking.owner or record.commitments() != marking.commitments:
        raise TamperedError(
            f"{where}: the sealed record is not the one that was committed",
            advice="compare the key store with a backup",
        )
    if marking.index > count:
        raise TamperedError(
            f"{where}: is commitment {marking.index}, but the log holds only {count}",
            advice="restore commitments.jsonl from a backup",
        )
    return Candidate(marking, record)


def _read(
    record: WatermarkRecord,
    suspect: Suspect,
    tries: int,
    unopened: Sequence[str],
    schemes: Sequence[Scheme],
) -> Verdict:
    extraction = extract(record, suspect, schemes=schemes)
    incomplete = [_without_tap(reason, record.tap) for reason in extraction.incomplete]
    if not extraction.evidence:
        if _asks_otherwise(record, suspect, schemes):
            raise OtherInputsError(
                "the file takes other inputs than the marked model",
                advice="name the model that it may be a copy of with --model",
            )
        raise CouldNotCheckError("; ".join(incomplete) or "no scheme could be read")
    verdict = judge(
        extraction.evidence,
        tries=tries * extraction.alignments,
        ways=extraction.alignments,
        incomplete=[*incomplete, *unopened],
    )
    if verdict.word == "undecided" and not unopened and _asks_otherwise(record, suspect, schemes):
        raise OtherInputsError(verdict.reasons[-1])
    return verdict


class OtherInputsError(CouldNotCheckError):
    """A file is asked something else than the model of a record is."""


def _asks_otherwise(record: WatermarkRecord, suspect: Suspect, schemes: Sequence[Scheme]) -> bool:
    """Whether a file declares samples of another size than a record asks."""
    row = suspect.row if isinstance(suspect, DeclaresRow) else None
    asked = [
        inputs.shape[1:]
        for scheme in schemes
        if len(inputs := scheme.probes(record.secrets[scheme.name]).inputs)
    ]
    return row is not None and bool(asked) and all(prod(row) != prod(shape) for shape in asked)


def _without_tap(reason: str, tap: str) -> str:
    # A runtime may name the tensor that it failed at, and reasons go into reports. A name may
    # begin or end with what is no letter, so that no word boundary need be there.
    name = rf"(?<!\w){re.escape(tap)}(?!\w)"
    return re.sub(name, "(the tap)", reason) if tap else reason
