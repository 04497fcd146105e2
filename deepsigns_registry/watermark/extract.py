"""Reading a mark from a suspect."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.projection import centred, class_means
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Answers, Scheme
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.suspect import Suspect
from deepsigns_registry.watermark.verdict import Evidence

__all__ = ["TAP_AGREEMENT", "Extraction", "extract", "tap_agreement"]

# Measured on digits (256 and 128 neurons): marked models 0.40 to 0.53, after pruning to 50% or
# three epochs of fine-tuning 0.40 to 0.53, unmarked fine-tuning 0.96; 40 pairs of unrelated
# siblings at most 0.09, and 2000 random permutations of the neurons at most 0.17.
TAP_AGREEMENT = 0.25


@dataclass(frozen=True)
class Extraction:
    """What was read from a suspect.

    Attributes:
        evidence: At most one entry a scheme.
        incomplete: Steps that could not run, one sentence each; see `judge`.
        tap_agreement: Similarity of the suspect's tap to the parent's, in [-1, 1]; None when
            it could not be read.
    """

    evidence: tuple[Evidence, ...]
    incomplete: tuple[str, ...]
    tap_agreement: float | None = None


def extract(
    record: WatermarkRecord, suspect: Suspect, *, schemes: Iterable[Scheme] | None = None
) -> Extraction:
    """Asks a suspect everything that a record's schemes need, and reads the evidence.

    A suspect without the tap still gives black-box evidence. Evidence from a tap that does not
    resemble the parent's, or that no scheme of the record reads activations at, is given without
    a level, and the extraction is noted as incomplete, so that its verdict is never `absent`.
    """
    read: list[tuple[Evidence, bool]] = []
    incomplete: list[str] = []
    agreement: float | None = None
    for scheme in named_schemes(record.secrets, schemes):
        secret = record.secrets[scheme.name]
        inputs, needs_activation, needs_weight = scheme.probes(secret)
        try:
            outputs, activation = suspect.run(inputs, tap=record.tap if needs_activation else None)
            weight = suspect.weight(record.tap) if needs_weight else None
            found = scheme.evidence(secret, Answers(outputs, activation, weight))
        except CouldNotCheckError as error:
            incomplete.append(f"{scheme.name}: {error}")
            continue
        if activation is not None:
            agreement = tap_agreement(record.reference, activation)
        read.append((found, needs_activation or needs_weight))
    # Activations verify the tap for every scheme that reads it, its weight included.
    verified = agreement is not None and agreement >= TAP_AGREEMENT
    evidence = [
        replace(found, level="oracle" if not hidden else "a" if verified else "")
        for found, hidden in read
    ]
    incomplete += [
        f"{found.scheme}: tap not verified, its activations do not resemble the parent's"
        for found, hidden in read
        if hidden and not verified
    ]
    return Extraction(tuple(evidence), tuple(incomplete), agreement)


def tap_agreement(reference: NDArray[np.float32], activation: NDArray[np.float32]) -> float:
    """Mean cosine of the suspect's centred class means with the parent's, in [-1, 1].

    Args:
        reference: float32 [carriers, neurons], of the unmarked parent. Never of the marked
            model: that would leak the bits.
        activation: float32 [triggers, neurons] of the suspect.
    """
    means = class_means(activation, len(reference))
    if means.shape != reference.shape:
        return 0.0
    ours, theirs = centred(reference).astype(np.float64), centred(means).astype(np.float64)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return float(cosines.mean())
