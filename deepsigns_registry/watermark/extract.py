"""Reading a mark from a suspect."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.align import align
from deepsigns_registry.watermark.projection import centred, class_means
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Answers, Probes, Scheme, SchemeSecret
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.suspect import Suspect
from deepsigns_registry.watermark.verdict import Evidence

__all__ = ["ALIGNED_AGREEMENT", "TAP_AGREEMENT", "Extraction", "extract", "tap_agreement"]

# Measured on digits (256 and 128 neurons): marked models 0.40 to 0.53, after pruning to 50% or
# three epochs of fine-tuning 0.40 to 0.53, unmarked fine-tuning 0.96; 40 pairs of unrelated
# siblings at most 0.09, and 2000 random permutations of the neurons at most 0.17.
TAP_AGREEMENT = 0.25


# Measured on Fashion-MNIST (multilayer perceptron, convolutional and residual network): marked
# models 0.44 to 0.84, fine-tuned, permuted, scaled, split and padded ones too; half of the
# weights pruned 0.39 to 0.72, four in five down to -0.27; siblings at most 0.01.
ALIGNED_AGREEMENT = 0.2
# Tensors between the tap's layer and the next: activation function, pooling, reshaping, noise of
# an exporter. Of more only the first are compared.
_MOST_TAPS = 8


@dataclass(frozen=True)
class Extraction:
    """What was read from a suspect.

    Attributes:
        evidence: At most one entry a scheme.
        incomplete: Steps that could not run, one sentence each; see `judge`.
        tap_agreement: Similarity of the suspect's tap to the parent's, in [-1, 1]; None when
            it could not be read.
        alignments: Ways of reading the tap that were considered, for the adjustment of
            p-values; at least 1.
    """

    evidence: tuple[Evidence, ...]
    incomplete: tuple[str, ...]
    tap_agreement: float | None = None
    alignments: int = 1


@dataclass
class _Reading:
    """One scheme's answers as they come in."""

    scheme: Scheme
    secret: SchemeSecret
    probes: Probes
    answers: Answers | None = None
    evidence: Evidence | None = None
    problem: str = ""

    @property
    def hidden(self) -> bool:
        return self.probes.needs_activation or self.probes.needs_weight

    def read(self, answers: Answers, level: str) -> None:
        """Replaces what was read before, unless that is stronger and this is not verified."""
        try:
            found = self.scheme.evidence(self.secret, answers)
        except CouldNotCheckError as error:
            self.problem = f"{self.scheme.name}: {error}"
            return
        self.problem = ""
        if level or self.evidence is None or found.log10_p < self.evidence.log10_p:
            self.evidence = replace(found, level=level)


def extract(
    record: WatermarkRecord, suspect: Suspect, *, schemes: Iterable[Scheme] | None = None
) -> Extraction:
    """Asks a suspect everything that a record's schemes need, and reads the evidence.

    A suspect without the tap still gives black-box evidence. A tap whose activations do not
    resemble the parent's is read after alignment. When the aligned rows do not resemble the
    parent's either, the stronger of both readings is given without a level (each counts as a
    try), and the extraction is noted as incomplete, so that its verdict is never `absent`.
    """
    readings = [
        _asked(scheme, record, suspect) for scheme in named_schemes(record.secrets, schemes)
    ]
    agreements = [
        tap_agreement(record.reference, reading.answers.activation)
        for reading in readings
        if reading.evidence is not None
        and reading.answers is not None
        and reading.answers.activation is not None
    ]
    agreement = agreements[-1] if agreements else None
    # Activations verify the tap for every scheme that reads it, its weight included.
    verified = agreement is not None and agreement >= TAP_AGREEMENT
    alignments = 1
    for reading in readings:
        if reading.evidence is not None:
            level = "oracle" if not reading.hidden else "a" if verified else ""
            reading.evidence = replace(reading.evidence, level=level)
    if not verified and any(reading.hidden for reading in readings):
        alignments += _read_aligned(readings, record, suspect)
    for reading in readings:
        if reading.evidence is not None and not reading.evidence.level and not reading.problem:
            reading.problem = (
                f"{reading.scheme.name}: tap not verified, its activations do not resemble the "
                "parent's"
            )
    return Extraction(
        tuple(reading.evidence for reading in readings if reading.evidence is not None),
        tuple(reading.problem for reading in readings if reading.problem),
        agreement,
        alignments,
    )


def _asked(scheme: Scheme, record: WatermarkRecord, suspect: Suspect) -> _Reading:
    secret = record.secrets[scheme.name]
    reading = _Reading(scheme, secret, scheme.probes(secret))
    inputs, needs_activation, needs_weight = reading.probes
    try:
        outputs, activation = suspect.run(inputs, tap=record.tap if needs_activation else None)
        weight = suspect.weight(record.tap) if needs_weight else None
    except CouldNotCheckError as error:
        reading.problem = f"{scheme.name}: {error}"
    else:
        reading.answers = Answers(outputs, activation, weight)
        reading.read(reading.answers, "")
    return reading


def _read_aligned(readings: Sequence[_Reading], record: WatermarkRecord, suspect: Suspect) -> int:
    """Reads hidden layers again after alignment; how many tensors were considered for it."""
    try:
        network = suspect.network() if record.blueprint else None
        alignment = None if network is None else align(record.blueprint, network)
    except CouldNotCheckError:
        return 0
    if alignment is None:
        return 0
    known = alignment.agreement >= ALIGNED_AGREEMENT
    considered = 0
    for reading in readings:
        answers = reading.answers
        if answers is None or not reading.hidden:
            continue
        if not reading.probes.needs_activation:
            # A weight is read as it stands: its rows say that they are the parent's.
            if known and alignment.in_place and reading.evidence is not None:
                reading.evidence = replace(reading.evidence, level="b")
            continue
        tensors = alignment.tensors[:_MOST_TAPS]
        try:
            found = suspect.activations(reading.probes.inputs, tensors)
        except CouldNotCheckError:
            continue
        neurons = record.reference.shape[1]
        aligned = [alignment.read(value, neurons) for value in found.values()]
        readable = [value for value in aligned if value is not None]
        considered += len(readable)
        if readable:
            best = max(readable, key=lambda value: _likeness(record.reference, value))
            reading.read(answers._replace(activation=best), "c" if known else "")
    return considered


def _likeness(reference: NDArray[np.float32], activation: NDArray[np.float32]) -> float:
    """Cosine of the class means with the parent's, in [-1, 1].

    With their common offset, which tells a tap before its activation function from one behind.
    """
    means = class_means(activation, len(reference)).astype(np.float64).ravel()
    ours = reference.astype(np.float64).ravel()
    norms = np.linalg.norm(ours) * np.linalg.norm(means)
    cosine = float(ours @ means) / max(float(norms), np.finfo(np.float64).tiny)
    return cosine if np.isfinite(cosine) else -1.0


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
