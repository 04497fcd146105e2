"""How a suspect wants to be asked, and which of its outputs is which class of the parent's.

A thief may fold another range of inputs into the first layer, turn images round, flatten them, put
the classes in another order or add one. What a suspect then computes is the same, but whoever asks
it as the parent was asked reads nothing. So it is asked ordinary samples of the owner in several
forms, and the form in which its outputs go with the parent's most is taken, each class with the
output that goes with it most. Neither key nor queries nor bits enter: the p-values of whatever is
read afterwards stay what they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.scheme import Probes, SchemeSecret
from deepsigns_registry.watermark.suspect import DeclaresRow, Suspect, matrices_in_place

__all__ = ["HoldsOrdinary", "Interface", "Interfaced", "Ordinary", "find_interface"]

Floats = NDArray[np.float32]

# So many tell one form from another, and are asked in all forms at once.
_MOST_SAMPLES = 64
_BYTE = 255.0
# Of the range itself.
_SAME_RANGE = 0.1
_SIGNIFICANT = 1e-3
_IMAGE = 3


class Ordinary(NamedTuple):
    """Ordinary samples of the owner, and what the unmarked parent says of them.

    Attributes:
        inputs: float32 [samples, ...].
        outputs: float32 [samples, outputs].
    """

    inputs: Floats
    outputs: Floats


@runtime_checkable
class HoldsOrdinary(Protocol):
    """A scheme whose secret holds ordinary samples, and what the parent says of them.

    Its own answers are read in the form that these find. So everything that the scheme draws must
    be drawn from them too: whoever invents them, and with them an order of a suspect's outputs,
    then draws all of it anew, and cannot put the outputs in the order that fits best.
    """

    def ordinary(self, secret: SchemeSecret) -> Ordinary | None:
        """The samples; None of a secret that lacks them."""
        ...


@dataclass(frozen=True)
class Interface:
    """A form of inputs and outputs.

    Attributes:
        layout: `same`, `flat`, `channels-last`, `channels-first`, `declared` or
            `declared-last`: in the shape that the suspect declares, of images whose channels come
            first or last there.
        scale: By what inputs are multiplied.
        offset: What is added to them then.
        order: For each output of the parent's the suspect's that goes with it.
        outputs: How many the suspect has.
        shape: Of a sample, as the suspect declares it; used where the layout says so.
    """

    layout: str
    scale: float
    offset: float
    order: tuple[int, ...]
    outputs: int
    shape: tuple[int, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the suspect is asked, and answers, as the parent does."""
        same = self.layout == "same" and (self.scale, self.offset) == (1.0, 0.0)
        return same and self.order == tuple(range(self.outputs))

    def asked(self, inputs: Floats) -> Floats:
        """Inputs of the parent's as the suspect wants them: float32 [n, ...]."""
        moved = _laid_out(inputs, self.layout, self.shape)
        return np.asarray(moved * np.float32(self.scale) + np.float32(self.offset), np.float32)

    def answered(self, outputs: Floats) -> Floats:
        """Outputs of the suspect's in the order of the parent's: float32 [n, outputs]."""
        if outputs.ndim != 2 or outputs.shape[1] != self.outputs:
            return outputs
        return np.ascontiguousarray(outputs[:, list(self.order)])


def find_interface(ordinary: Ordinary, suspect: Suspect) -> Interface | None:
    """The form in which a suspect goes with the parent most.

    The simplest of those that go equally well: a form is left for another one where this is nearer
    to the parent in more samples than chance allows (a sign test at 1/1,000).
    Layers that are indifferent to the size of their inputs answer alike in several ranges.

    Args:
        ordinary: Samples that say nothing of the key.
        suspect: Asked in one run for each layout, and range by range where it refuses that.

    Returns:
        None when it answers in no form, or has fewer outputs than the parent.
    """
    inputs, wanted = ordinary.inputs[:_MOST_SAMPLES], ordinary.outputs[:_MOST_SAMPLES]
    if not inputs.size or wanted.ndim != 2:
        return None
    ranges, shape = _ranges(inputs), _declared(suspect)
    best: tuple[_Agreement, Interface] | None = None
    for layout in _layouts(inputs.shape[1:], shape):
        moved = _laid_out(inputs, layout, shape)
        given = _answers(suspect, moved, ranges, insist=layout == "same")
        for (scale, offset), answers in zip(ranges, given, strict=False):
            if answers is None or answers.ndim != 2 or answers.shape[1] < wanted.shape[1]:
                continue
            found = _matched(wanted, answers)
            if best is None or found.is_nearer_than(best[0]):
                outputs = answers.shape[1]
                best = found, Interface(layout, scale, offset, found.order, outputs, shape)
    return best[1] if best else None


def _answers(
    suspect: Suspect, inputs: Floats, ranges: Sequence[tuple[float, float]], *, insist: bool
) -> list[Floats | None]:
    """What a suspect answers in each range, None where it refuses; fewer where it refuses all.

    A file that refuses what is out of its range refuses all ranges that are asked at once.

    Args:
        suspect: The suspect.
        inputs: float32 [n, ...].
        ranges: Factors and offsets.
        insist: Whether to ask for the other ranges where it refuses the first.
    """
    forms = [
        np.asarray(inputs * np.float32(scale) + np.float32(offset), np.float32)
        for scale, offset in ranges
    ]
    try:
        outputs, _ = suspect.run(np.concatenate(forms), tap=None)
    except CouldNotCheckError:
        pass
    else:
        return list(outputs.reshape(len(forms), len(inputs), *outputs.shape[1:]))
    found: list[Floats | None] = []
    for form in forms:
        try:
            found.append(suspect.run(form, tap=None)[0])
        except CouldNotCheckError:
            if not found and not insist:
                break
            found.append(None)
    return found


class Interfaced:
    """A suspect that is asked in a form of its own.

    Args:
        behind: The suspect.
        interface: The form.
    """

    def __init__(self, behind: Suspect, interface: Interface) -> None:
        self._behind, self._interface = behind, interface
        self._turned: tuple[tuple[Network, Network], ...] = ()

    def run(self, inputs: Floats, *, tap: str | None) -> tuple[Floats, Floats | None]:
        """Answers a batch of the parent's form; see `Suspect.run`."""
        outputs, activation = self._behind.run(self._interface.asked(inputs), tap=tap)
        return self._interface.answered(outputs), activation

    def weight(self, tap: str) -> Floats | None:
        """See `Suspect.weight`."""
        return self._behind.weight(tap)

    def matrices(self, probes: Probes) -> tuple[Floats | None, ...]:
        """See `Suspect.matrices`."""
        networks = self.networks()
        return (
            matrices_in_place(networks[0], probes) if networks else (None,) * len(probes.matrices)
        )

    def networks(self) -> tuple[Network, ...]:
        """The layers as they would be for inputs that are not turned; see `Suspect.networks`."""
        if self._interface.scale > 0:
            return self._behind.networks()
        if not self._turned:
            networks = self._behind.networks()
            self._turned = tuple((_turned(network), network) for network in networks)
        return tuple(turned for turned, _ in self._turned)

    def activations(
        self, network: Network, inputs: Floats, tensors: Sequence[str]
    ) -> dict[str, Floats]:
        """Reads hidden tensors for a batch of the parent's form; see `Suspect.activations`."""
        pairs = (theirs for turned, theirs in self._turned if turned is network)
        behind = next(pairs, network)
        return self._behind.activations(behind, self._interface.asked(inputs), tensors)


def _turned(network: Network) -> Network:
    """Whoever turns the inputs round turns the rows of the layers that read them."""
    layers = [
        layer if layer.source else replace(layer, weight=-layer.weight) for layer in network.layers
    ]
    return replace(network, layers=tuple(layers))


def _declared(suspect: Suspect) -> tuple[int, ...]:
    """The shape of a sample that a suspect declares; empty where it does not."""
    return suspect.row or () if isinstance(suspect, DeclaresRow) else ()


def _layouts(shape: tuple[int, ...], declared: tuple[int, ...]) -> Iterator[str]:
    yield "same"
    if len(shape) > 1:
        yield "flat"
    if len(shape) == _IMAGE:
        yield "channels-last"
        yield "channels-first"
    if declared != shape and len(declared) > 1 and prod(declared) == prod(shape):
        yield "declared"
        if len(declared) == _IMAGE:
            yield "declared-last"


def _laid_out(inputs: Floats, layout: str, declared: tuple[int, ...]) -> Floats:
    if layout == "declared":
        return inputs.reshape(len(inputs), *declared)
    if layout == "declared-last":
        height, width, channels = declared
        first = inputs.reshape(len(inputs), channels, height, width)
        return np.ascontiguousarray(first.transpose(0, 2, 3, 1))
    if layout == "flat":
        return inputs.reshape(len(inputs), -1)
    if layout == "channels-last":
        return np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
    if layout == "channels-first":
        return np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    return inputs


def _ranges(inputs: Floats) -> list[tuple[float, float]]:
    """Factors and offsets: as it is first, then in other ranges, each also turned round.

    Of ranges that are nearly the same the first stays: inputs that were standardised are so but
    for the samples at hand, and no suspect wants them a few hundredths wider.
    """
    low, high = float(inputs.min()), float(inputs.max())
    wide, middle, deviation = high - low, float(inputs.mean()), float(inputs.std())
    if not wide > 0 or not deviation > 0:
        return [(1.0, 0.0)]
    forms = [
        (1.0, 0.0),
        (_BYTE, 0.0),
        (1 / _BYTE, 0.0),
        (1 / wide, -low / wide),
        (2 / wide, -1 - 2 * low / wide),
        (1 / deviation, -middle / deviation),
    ]
    turned = [(-scale, scale * (low + high) + offset) for scale, offset in forms]
    found: list[tuple[float, float]] = []
    for scale, offset in [*forms, *turned]:
        near = _SAME_RANGE * abs(scale)
        if not any(
            abs(scale - other) <= near and abs(offset - moved) <= near * wide
            for other, moved in found
        ):
            found.append((scale, offset))
    return found


@dataclass(frozen=True, eq=False)
class _Agreement:
    """How a suspect's answers go with the parent's.

    Attributes:
        order: For each of the parent's outputs the suspect's.
        correlation: Mean over these pairs, in [-1, 1].
        distances: float64 [samples], squared, of answers that were standardised.
    """

    order: tuple[int, ...]
    correlation: float
    distances: NDArray[np.float64]

    def is_nearer_than(self, other: "_Agreement") -> bool:
        from scipy.stats import binom

        if self.correlation <= other.correlation:
            return False
        nearer = int((self.distances < other.distances).sum())
        differing = int((self.distances != other.distances).sum())
        return bool(binom.sf(nearer - 1, differing, 0.5) <= _SIGNIFICANT)


def _matched(wanted: Floats, answers: Floats) -> _Agreement:
    """Which outputs go with the parent's, and how well."""
    from scipy.optimize import linear_sum_assignment

    ours, theirs = (_standardised(values) for values in (wanted, answers))
    correlations = ours.T @ theirs
    rows, columns = linear_sum_assignment(correlations, maximize=True)
    return _Agreement(
        order=tuple(int(column) for column in columns),
        correlation=float(correlations[rows, columns].mean()),
        distances=np.square(ours[:, rows] - theirs[:, columns]).sum(axis=1),
    )


def _standardised(values: Floats) -> NDArray[np.float64]:
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
    centred = finite - finite.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)
    standardised: NDArray[np.float64] = np.divide(
        centred, lengths, out=np.zeros_like(centred), where=lengths > 0
    )
    return standardised
