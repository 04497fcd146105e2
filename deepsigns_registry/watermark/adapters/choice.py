"""The tap that was chosen, and why.

Only tensors that a layer with a weight reads are chosen by themselves. A runtime fuses a layer
with the activation function behind it, and what was between the two is gone; what the next layer
reads is computed in every optimised file.
"""

from collections.abc import Sequence
from typing import NamedTuple

from deepsigns_registry.errors import UnmarkableError

__all__ = ["Candidate", "TapChoice", "choose", "named", "neurons_of"]


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


def choose(candidates: Sequence[Candidate], neurons: int) -> TapChoice:
    """Chooses the candidate nearest to the output that is wide enough.

    Args:
        candidates: From the output to the input, at least one.
        neurons: The fewest that can carry the mark.

    Raises:
        UnmarkableError: None is wide enough; names the widest.

    Examples:
        >>> candidates = [Candidate("pool", "head", 8), Candidate("relu", "conv2", 64)]
        >>> choose(candidates, 8).tap, choose(candidates, 48).tap
        ('pool', 'relu')
    """
    last = candidates[0]
    for candidate in candidates:
        if candidate.neurons < neurons:
            continue
        if candidate is last:
            return TapChoice(
                last.tap,
                f"'{last.tap}' is the last hidden activation: output layer '{last.reader}' reads "
                "it",
                "the last hidden activation before the output layer",
            )
        return TapChoice(
            candidate.tap,
            f"'{candidate.tap}', which layer '{candidate.reader}' reads, is the last hidden "
            f"activation of at least {neurons} neurons; '{last.tap}' has only {last.neurons}",
            "an earlier hidden activation, because the last one is too narrow for the bits",
        )
    widest = max(candidates, key=lambda candidate: candidate.neurons)
    raise UnmarkableError(
        f"the widest hidden activation, layer '{widest.tap}', has {widest.neurons} neurons, too "
        f"few for the bits of one carrier class, which need {neurons}",
        advice="lower bits, or raise carriers, or mark a wider model",
    )


def neurons_of(shape: Sequence[int]) -> int:
    """Length of an activation of this shape after `tapped.pool`.

    Examples:
        >>> neurons_of((4, 32)), neurons_of((4, 7, 32)), neurons_of((4, 32, 8, 8))
        (32, 32, 32)
    """
    return shape[2] if len(shape) == 3 else shape[1]
