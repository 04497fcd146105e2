"""Structured pruning: whole channels go, and the model gets narrower."""

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.strength import parse_share
from deepsigns_registry.attacks.structure import restructured
from deepsigns_registry.graph.channels import Change, Freedom, Group, Layout
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["StructuredPrune"]


class StructuredPrune:
    """Removes the channels with the smallest incoming weights; the strength is their share.

    In every hidden layer the channels are ranked by the Euclidean norm of the weights that
    compute them, those of all layers together where a residual stream ties them (after Li et
    al., "Pruning Filters for Efficient ConvNets", arXiv 1608.08710). Channels are really
    removed, so layers, and with them the tap, get narrower; only where a number of channels is
    computed inside the graph are they made zero instead, in and out. One channel of each layer
    always stays. The result is an ONNX file's view, whatever was given.

    Examples:
        >>> StructuredPrune().parse("0.3")
        0.3
    """

    name = "structured_prune"

    def parse(self, strength: str) -> float:
        """Reads a share in (0, 1).

        Raises:
            ConfigurationError: It is no such number.
        """
        return parse_share(self.name, strength, "the channels")

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> OnnxTappedModel:
        """Prunes a copy; see `Attack.apply`.

        Raises:
            CouldNotCheckError: The model cannot be exported, or has no channels to remove.
        """

        def plan(layout: Layout, random: np.random.Generator) -> dict[int, Change]:  # noqa: ARG001
            return {
                group.number: _pruned(group, layout.norms(group.number), strength)
                for group in layout.groups.values()
            }

        return restructured(model, data, plan, attack=self.name, seed=seed, progress=progress)


def _pruned(group: Group, norms: NDArray[np.float64], share: float) -> Change:
    removed = np.argsort(norms, kind="stable")[: int(share * group.size)]
    stays = np.ones(group.size)
    stays[removed] = 0
    if Freedom.RESIZE in group.freedom:
        return Change.of(np.flatnonzero(stays))
    return Change.of(np.arange(group.size), gain=stays, share=stays)
