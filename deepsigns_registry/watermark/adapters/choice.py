"""The tap that was chosen, and why.

Only tensors that a layer with a weight reads are chosen by themselves. A runtime fuses a layer
with the activation function behind it, and what was between the two is gone; what the next layer
reads is computed in every optimised file.
"""

from collections.abc import Sequence
from typing import NamedTuple

from deepsigns_registry.errors import UnmarkableError

__all__ = [
    "ANY_WIDTH",
    "Candidate",
    "TapChoice",
    "Width",
    "choose",
    "named",
    "neurons_of",
    "ordered",
]


class TapChoice(NamedTuple):
    """A tap, and why it was chosen.

    Attributes:
        tap: Name of the tap, in the adapter's own naming. Secret: it says where the mark sits.
        reason: One sentence that names the layers, as secret as the tap. It follows from the
            model and the settings, so it is kept nowhere.
        public: The same without the names, for logs.
        neurons: Its length after pooling.
    """

    tap: str
    reason: str
    public: str
    neurons: int


class Width(NamedTuple):
    """How many neurons a mark needs; see `whitebox.width_needed`.

    Attributes:
        wanted: As many hold the bits beside what the layer was trained for.
        least: With fewer the bits do not fit.
    """

    wanted: int = 1
    least: int = 1


ANY_WIDTH = Width()


class Candidate(NamedTuple):
    """A hidden activation that a layer with a weight reads.

    Attributes:
        tap: Name of the tap.
        reader: Path of the layer that reads it.
        neurons: Its length after pooling.
    """

    tap: str
    reader: str
    neurons: int


def named(layer: str, neurons: int) -> TapChoice:
    """The choice of the settings.

    Examples:
        >>> named("encoder.2", 256).neurons
        256
    """
    return TapChoice(layer, f"'{layer}' was asked for", "the layer that the settings name", neurons)


def choose(candidates: Sequence[Candidate], width: Width) -> TapChoice:
    """Chooses the candidate nearest to the output that is wide enough, or else the widest.

    Args:
        candidates: From the output to the input, at least one.
        width: What the mark needs.

    Raises:
        UnmarkableError: Even the widest is too narrow.

    Examples:
        >>> candidates = [Candidate("pool", "head", 8), Candidate("relu", "conv2", 64)]
        >>> [choose(candidates, Width(wanted, 8)).tap for wanted in (8, 48, 128)]
        ['pool', 'relu', 'relu']
    """
    return ordered(candidates, width)[0]


def ordered(candidates: Sequence[Candidate], width: Width) -> tuple[TapChoice, ...]:
    """Every candidate that can hold the bits, in the order in which they are to be tried.

    What `choose` gives comes first; then the others, those that are wide enough before the
    narrow ones, and of each kind the nearest to the output first.

    Args:
        candidates: From the output to the input, at least one; of a tap that several layers
            read, the first is taken.
        width: What the mark needs.

    Raises:
        UnmarkableError: Even the widest is too narrow.

    Examples:
        >>> candidates = [Candidate("c", "head", 32), Candidate("b", "fc", 64)]
        >>> candidates += [Candidate("a", "conv2", 8), Candidate("d", "conv1", 48)]
        >>> [choice.tap for choice in ordered(candidates, Width(48, 16))]
        ['b', 'd', 'c']
        >>> [choice.tap for choice in ordered(candidates, Width(128, 16))]
        ['b', 'c', 'd']
    """
    last = candidates[0]
    known = list({candidate.tap: candidate for candidate in reversed(candidates)}.values())[::-1]
    widest = max(known, key=lambda candidate: candidate.neurons)
    if widest.neurons < width.least:
        raise UnmarkableError(
            f"the widest hidden activation, layer '{widest.tap}', has {widest.neurons} neurons, "
            f"too few for the bits of one carrier class, which need {width.least}",
            advice="lower bits, or raise carriers, or mark a wider model",
        )
    wide = [candidate for candidate in known if candidate.neurons >= width.wanted]
    first = wide[0] if wide else widest
    narrow = [c for c in known if width.least <= c.neurons < width.wanted]
    others = [candidate for candidate in (*wide, *narrow) if candidate is not first]
    return (
        _preferred(first, last, width),
        *(_alternative(candidate, number) for number, candidate in enumerate(others, start=2)),
    )


def _preferred(found: Candidate, last: Candidate, width: Width) -> TapChoice:
    if found.tap == last.tap:
        return TapChoice(
            last.tap,
            f"'{last.tap}' is the last hidden activation: output layer '{last.reader}' reads it",
            "the last hidden activation before the output layer",
            last.neurons,
        )
    return TapChoice(
        found.tap,
        f"'{found.tap}', which layer '{found.reader}' reads, has {found.neurons} neurons; the "
        f"last hidden activation, '{last.tap}', has only {last.neurons} for {width.wanted} wanted",
        "an earlier hidden activation, because the last one is too narrow for the bits",
        found.neurons,
    )


def _alternative(found: Candidate, number: int) -> TapChoice:
    return TapChoice(
        found.tap,
        f"'{found.tap}', which layer '{found.reader}' reads, is choice {number} in order of "
        f"preference, with {found.neurons} neurons",
        f"another hidden activation, choice {number} in order of preference",
        found.neurons,
    )


def neurons_of(shape: Sequence[int]) -> int:
    """Length of an activation of this shape after `tapped.pool`.

    Examples:
        >>> neurons_of((4, 32)), neurons_of((4, 7, 32)), neurons_of((4, 32, 8, 8))
        (32, 32, 32)
    """
    return shape[2] if len(shape) == 3 else shape[1]
