"""Pruning layer by layer: the smallest weights of each layer become zero."""

import copy

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.prune import prunable, prune_smallest
from deepsigns_registry.attacks.strength import parse_share
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["LayerPrune"]


class LayerPrune:
    """Magnitude pruning with the same share in every layer, as in the DeepSigns paper.

    The strength is the share of each layer's weights that becomes zero. Global pruning spares
    layers of large weights, the output layer above all; this does not.

    Examples:
        >>> LayerPrune().parse("0.5")
        0.5
    """

    name = "layer_prune"

    def parse(self, strength: str) -> float:
        """Reads a share in (0, 1).

        Raises:
            ConfigurationError: It is no such number.
        """
        return parse_share(self.name, strength, "each layer's weights")

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,  # noqa: ARG002 - needs none
        *,
        seed: int,  # noqa: ARG002 - nothing is random
        progress: Progress | None = None,
    ) -> TappedModel:
        """Prunes a copy; see `Attack.apply`."""
        attacked = copy.deepcopy(model).eval()
        weights = prunable(attacked, self.name)
        count = sum(prune_smallest([weight], strength) for weight in weights)
        if progress is not None:
            progress(1.0, f"{count} weights of {len(weights)} layers are zero")
        return attacked
