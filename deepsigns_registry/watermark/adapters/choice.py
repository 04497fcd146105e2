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
]


class TapChoice(NamedTuple):
    """A tap, and why it was chosen.

    Attributes:
        tap: Name of the tap, in the adapter's own naming. Secret: it says where the mark sits.
        reason: One sentence that names the layers, as secret as the tap. It follows from the
            model and the settings, so it is kept nowhere.
        public: The same without the names, for logs.
    """

    tap: str
    reason: str
    public: str


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


def named(layer: str) -> TapChoice:
    """The choice of the settings."""
    return TapChoice(layer, f"'{layer}' was asked for", "the layer that the settings name")


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
    last = candidates[0]
    wide = [candidate for candidate in candidates if candidate.neurons >= width.wanted]
    found = wide[0] if wide else max(candidates, key=lambda candidate: candidate.neurons)
    if found.neurons < width.least:
        raise UnmarkableError(
            f"the widest hidden activation, layer '{found.tap}', has {found.neurons} neurons, "
            f"too few for the bits of one carrier class, which need {width.least}",
            advice="lower bits, or raise carriers, or mark a wider model",
        )
    if found is last:
        return TapChoice(
            last.tap,
            f"'{last.tap}' is the last hidden activation: output layer '{last.reader}' reads it",
            "the last hidden activation before the output layer",
        )
    return TapChoice(
        found.tap,
        f"'{found.tap}', which layer '{found.reader}' reads, has {found.neurons} neurons; the "
        f"last hidden activation, '{last.tap}', has only {last.neurons} for {width.wanted} wanted",
        "an earlier hidden activation, because the last one is too narrow for the bits",
    )


def neurons_of(shape: Sequence[int]) -> int:
    """Length of an activation of this shape after `tapped.pool`.

    Examples:
        >>> neurons_of((4, 32)), neurons_of((4, 7, 32)), neurons_of((4, 32, 8, 8))
        (32, 32, 32)
    """
    return shape[2] if len(shape) == 3 else shape[1]
