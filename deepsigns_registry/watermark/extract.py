"""Reading a mark from a suspect."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.align import Alignment, align, aligned_weights
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.interface import (
    HoldsOrdinary,
    Interface,
    Interfaced,
    Ordinary,
    find_interface,
)
from deepsigns_registry.watermark.reading import Reading, Readings
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.resemblance import are_of
from deepsigns_registry.watermark.scheme import Answers, Scheme
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.suspect import ManyOutputs, Suspect, TappedSuspect
from deepsigns_registry.watermark.tap import TapAgreement

__all__ = ["Extraction", "extract"]

# Tensors between the tap's layer and the next: activation function, pooling, reshaping, noise of
# an exporter. Of more only the first are compared.
_MOST_TAPS = 8
_NO_OUTPUTS = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Extraction:
    """What was read from a suspect.

    Attributes:
        evidence: At most one entry a scheme.
        incomplete: Steps that could not run, one sentence each; see `judge`.
        tap_agreement: Correlation of the suspect's tap with the parent's, in [-1, 1]; None when
            it could not be read. See `tap.compare_taps`.
        alignments: Ways of reading the tap that were considered, for the adjustment of
            p-values; at least 1.
    """

    evidence: tuple[Evidence, ...]
    incomplete: tuple[str, ...]
    tap_agreement: float | None = None
    alignments: int = 1


# A suspect may hold what is no number or too large a one; it stays what it is, and numpy's warnings
# of our sums are for nobody who asks.
@np.errstate(all="ignore")
def extract(
    record: WatermarkRecord, suspect: Suspect, *, schemes: Iterable[Scheme] | None = None
) -> Extraction:
    """Asks a suspect everything that a record's schemes need, and reads the evidence.

    A suspect without the tap still gives black-box evidence. Whether a tap is the parent's, and
    which of a suspect's tensors it is, a witness tells for every scheme; see `witness`. A tap whose
    activations do not resemble the parent's is read after alignment, and the stronger of both
    readings is given (each counts as a try).
    Where neither the rows nor the activations verify it, that is without a level, and the
    extraction is noted as incomplete, so that its verdict is never `absent`. A suspect may show its
    layers in several forms, which are tried in turn until one shows the mark.

    A tap that is the parent's and shows no mark may be kept for show, beside the tensor that the
    outputs come from: it is read after alignment as well, and counts only where the suspect's
    graph, as far as it shows one, has no other way to the output.

    A suspect that shows no mark may want its inputs in another form, or give its outputs in another
    order: where ordinary samples say so, everything is read once more in that form, and counts.
    Each scheme's own samples say so of it, if it has some; see `HoldsOrdinary`. Of a suspect with
    several outputs the others are asked too, by the schemes that need no more than answers.
    """
    chosen = named_schemes(record.secrets, schemes)
    found = _read_in_every_form(chosen, record, suspect)
    for other in _other_outputs(found, suspect):
        asking = [each.scheme for each in found.readings if each.asks_for_answers_alone]
        found = found.joined(
            _read_in_every_form(asking, record, other), {scheme.name for scheme in asking}
        )
    readings = found.readings
    return Extraction(
        tuple(reading.evidence for reading in readings if reading.evidence is not None),
        (*_problems(readings), *_unasked(found, suspect)),
        found.agreement.correlation if found.agreement else None,
        found.alignments,
    )


def _read_in_every_form(
    chosen: Sequence[Scheme], record: WatermarkRecord, suspect: Suspect
) -> Readings:
    found = _read_all(chosen, record, suspect)
    for interface, names in _interfaces(found, suspect).items():
        found = found.joined(_read_all(chosen, record, Interfaced(suspect, interface)), names)
    return found


def _other_outputs(found: Readings, suspect: Suspect) -> Sequence[Suspect]:
    """The suspect with each of its other outputs, where its first leaves something to be asked."""
    asked = [reading for reading in found.readings if reading.asks_for_answers_alone]
    if all(reading.is_settled for reading in asked) or not isinstance(suspect, ManyOutputs):
        return ()
    return suspect.others()


def _problems(readings: Sequence[Reading]) -> Sequence[str]:
    """Why schemes could not be read; what several have in common is said once."""
    said: dict[str, list[str]] = {}
    for reading in readings:
        if reading.problem:
            said.setdefault(reading.problem, []).append(reading.scheme.name)
    return [f"{', '.join(names)}: {problem}" for problem, names in said.items()]


def _unasked(found: Readings, suspect: Suspect) -> Sequence[str]:
    """What is said of a suspect that may show its mark at an output that nobody asked."""
    weak = any(not reading.is_settled for reading in found.readings)
    if not weak or not isinstance(suspect, ManyOutputs) or not suspect.unasked:
        return ()
    said = f"{suspect.unasked} outputs of the suspect were not asked, it has too many"
    return (f"{said}; cut the file to the output that is served",)


def _interfaces(found: Readings, suspect: Suspect) -> dict[Interface, set[str]]:
    """In which other forms a suspect is asked that shows no mark in its parent's, and by whom.

    A scheme that holds ordinary samples is read in the form that these find, every other in the
    form that the first of them finds.
    """
    asked = (reading for reading in found.readings if len(reading.probes.inputs))
    weak = any(not reading.is_settled for reading in asked)
    # A tapped model is one of our own, in its parent's form.
    if not weak or isinstance(suspect, TappedSuspect):
        return {}
    forms: dict[Interface, set[str]] = {}
    known = {reading.scheme.name: _ordinary(reading) for reading in found.readings}
    others = {name for name, ordinary in known.items() if ordinary is None}
    for name, ordinary in known.items():
        if ordinary is not None:
            interface = find_interface(ordinary, suspect)
            if interface is not None and not interface.is_plain:
                forms.setdefault(interface, set()).update({name}, others)
            others = set()
    return forms


def _ordinary(reading: Reading) -> Ordinary | None:
    scheme = reading.scheme
    return scheme.ordinary(reading.secret) if isinstance(scheme, HoldsOrdinary) else None


def _read_all(chosen: Sequence[Scheme], record: WatermarkRecord, suspect: Suspect) -> Readings:
    readings = [_asked(scheme, record, suspect) for scheme in chosen]
    agreement = _direct_agreement(_witness(readings))
    # Activations verify the tap for every scheme that reads it, its weight included.
    verified = agreement is not None and agreement.verified
    alignments = 1
    for reading in readings:
        if reading.evidence is not None:
            level = "oracle" if not reading.hidden else "a" if verified else ""
            # Of weights the correlation itself says whose they are.
            level = "b" if reading.probes.matrices else level
            reading.evidence = replace(reading.evidence, level=level)
    if any(reading.hidden and not reading.is_settled for reading in readings):
        networks = _networks(suspect)
        for network in networks or ():
            alignments += _read_aligned(readings, record, suspect, network)
            if all(reading.is_settled for reading in readings if reading.hidden):
                break
        # What it says of the tap's name is the file's own form, for each of its outputs.
        if networks is None or any(
            record.tap not in form.sole for form in networks if not form.rewritten
        ):
            _doubt(readings, record.tap)
    alignments += _read_weights_aligned(readings, record, suspect)
    for reading in readings:
        if reading.evidence is not None and not reading.evidence.level and not reading.problem:
            reading.problem = "tap not verified, its activations do not resemble the parent's"
    return Readings(tuple(readings), agreement, alignments)


def _asked(scheme: Scheme, record: WatermarkRecord, suspect: Suspect) -> Reading:
    secret = record.secrets[scheme.name]
    reading = Reading(scheme, secret, scheme.probes(secret))
    inputs = reading.probes.inputs
    try:
        if reading.probes.matrices:
            shown = suspect.matrices(reading.probes)
            reading.answers = Answers(_NO_OUTPUTS, matrices=shown)
            reading.read(reading.answers, "b")
            return reading
        tap = record.tap if scheme.needs_activation else None
        outputs, activation = suspect.run(inputs, tap=tap)
        weight = suspect.weight(record.tap) if scheme.needs_weight else None
    except CouldNotCheckError as error:
        reading.problem = str(error)
        return reading
    if reading.asks_for_answers_alone and not np.isfinite(outputs).any():
        reading.problem = "the suspect answers no sample with a finite number"
        return reading
    reading.answers = Answers(outputs, activation, weight)
    reading.read(reading.answers, "")
    return reading


def _read_weights_aligned(
    readings: Sequence[Reading], record: WatermarkRecord, suspect: Suspect
) -> int:
    """Reads weights again in the parent's order; how many further ways of reading that were."""
    digest = record.blueprint.digest()
    # In an order that was made up later any weights could be made to fit.
    weak = [
        each
        for each in readings
        if each.probes.matrices and each.probes.blueprint == digest and not each.is_settled
    ]
    if not weak or not record.blueprint:
        return 0
    ways, parts = 0, record.blueprint.parts()
    recognised = {
        reading.scheme.name
        for reading in weak
        if reading.answers and are_of(parts, reading.probes.matrices, reading.answers.matrices)
    }
    for network in _networks(suspect) or ():
        weights = aligned_weights(record.blueprint, network)
        ways += 1
        for reading in weak:
            layers = (matrix.layer for matrix in reading.probes.matrices)
            shown = tuple(weights[at] if 0 <= at < len(weights) else None for at in layers)
            reading.read(Answers(_NO_OUTPUTS, matrices=shown), "c")
            if are_of(parts, reading.probes.matrices, shown):
                recognised.add(reading.scheme.name)
        if all(reading.is_settled for reading in weak):
            break
    for reading in weak:
        found = reading.evidence
        if found and not reading.shows_mark and reading.scheme.name not in recognised:
            # Weights that are not the parent's may stand beside the ones that are.
            reading.evidence = replace(found, level="")
            reading.problem = "its weights do not resemble the parent's"
    return ways


def _witness(readings: Sequence[Reading]) -> Reading | None:
    return next((reading for reading in readings if reading.witness is not None), None)


def _direct_agreement(told: Reading | None) -> TapAgreement | None:
    if told is None or told.witness is None or told.evidence is None or told.answers is None:
        return None
    activation = told.answers.activation
    return None if activation is None else told.witness.agreement(activation)


def _networks(suspect: Suspect) -> tuple[Network, ...] | None:
    """The suspect's layers, None where they cannot be read."""
    try:
        return suspect.networks()
    except CouldNotCheckError:
        return None


def _doubt(readings: Sequence[Reading], tap: str) -> None:
    """Takes the level from what was read, and found without a mark, where it may be for show."""
    for reading in readings:
        if reading.evidence and reading.evidence.level == "a" and not reading.shows_mark:
            reading.evidence = replace(reading.evidence, level="")
            reading.problem = f"tap not verified, the outputs need not come through layer '{tap}'"


def _read_aligned(
    readings: Sequence[Reading], record: WatermarkRecord, suspect: Suspect, network: Network
) -> int:
    """Reads hidden layers again after alignment; how many tensors were considered for it."""
    alignment = align(record.blueprint, network) if record.blueprint else None
    if alignment is None:
        return 0
    for reading in readings:
        # A weight is read as it stands: its rows say that they are the parent's.
        weight = reading.scheme.needs_weight and not reading.scheme.needs_activation
        in_place = alignment.in_place and record.tap in alignment.sole
        if (
            weight
            and not network.rewritten
            and alignment.verified
            and in_place
            and reading.evidence
            and not reading.evidence.level
        ):
            reading.evidence = replace(reading.evidence, level="b")
    told = _witness(readings)
    tap, considered = _aligned_tap(told, suspect, network, alignment)
    if tap is None:
        return considered
    level = "c" if alignment.verified and tap.verified else ""
    for reading in readings:
        if reading.answers is None or not reading.scheme.needs_activation:
            continue
        value = (
            tap.activation
            if reading is told
            else _aligned_activation(reading, tap, suspect, network, alignment)
        )
        if value is not None:
            reading.read(reading.answers._replace(activation=value), level)
            found = reading.evidence
            if network.partial and found and found.level == "c" and not reading.shows_mark:
                reading.evidence = replace(found, level="")
    return considered


@dataclass(frozen=True)
class _AlignedTap:
    """The suspect's tensor that is read, and what the witness's probes give there."""

    tensor: str
    neurons: int
    activation: NDArray[np.float32]
    verified: bool


def _aligned_tap(
    told: Reading | None, suspect: Suspect, network: Network, alignment: Alignment
) -> tuple[_AlignedTap | None, int]:
    """The tensor most like the parent's tap, and among how many it was chosen."""
    witness = told.witness if told else None
    if told is None or witness is None or told.answers is None:
        return None, 0
    tensors, neurons = alignment.tensors[:_MOST_TAPS], witness.neurons
    try:
        found = suspect.activations(network, told.probes.inputs, tensors)
    except CouldNotCheckError:
        return None, 0
    aligned = {name: alignment.read(value, neurons) for name, value in found.items()}
    readable = {name: value for name, value in aligned.items() if value is not None}
    if not readable:
        return None, 0
    best = witness.most_like(readable)
    agreement = witness.agreement(readable[best])
    # Rows alone may be those of neurons that stand beside the real ones, with other biases.
    verified = (
        best in alignment.sole
        and len(tensors) == len(alignment.tensors)
        and agreement is not None
        and agreement.verified
    )
    return _AlignedTap(best, neurons, readable[best], verified), len(readable)


def _aligned_activation(
    reading: Reading,
    tap: _AlignedTap,
    suspect: Suspect,
    network: Network,
    alignment: Alignment,
) -> NDArray[np.float32] | None:
    try:
        found = suspect.activations(network, reading.probes.inputs, [tap.tensor])
    except CouldNotCheckError:
        return None
    value = found.get(tap.tensor)
    return None if value is None else alignment.read(value, tap.neurons)
