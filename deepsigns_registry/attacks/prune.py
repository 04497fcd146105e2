"""Pruning: the smallest weights of the whole model become zero."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.strength import parse_share
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Prune", "prunable", "prune_smallest"]


class Prune:
    """Global magnitude pruning; the strength is the share of all weights that becomes zero.

    Weights are parameters with at least two dimensions; biases and normalisation stay.

    Examples:
        >>> Prune().parse("0.5")
        0.5
    """

    name = "prune"

    def parse(self, strength: str) -> float:
        """Reads a share in (0, 1).

        Raises:
            ConfigurationError: It is no such number.
        """
        return parse_share(self.name, strength, "the weights")

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
        count = prune_smallest(weights, strength)
        if progress is not None:
            total = sum(weight.numel() for weight in weights)
            progress(1.0, f"{count} of {total} weights are zero")
        return attacked


def prunable(model: TappedModel, attack: str) -> list[nn.Parameter]:
    """The weights of a model: its parameters with at least two dimensions.

    Raises:
        CouldNotCheckError: There are none.
    """
    weights = [weight for weight in model.parameters() if weight.ndim > 1]
    if not weights:
        raise CouldNotCheckError(
            f"attack {attack}: the model has no float weights to prune",
            advice="attack the file from before quantisation",
        )
    return weights


def prune_smallest(weights: Sequence[nn.Parameter], share: float) -> int:
    """Sets the smallest weights to zero, in place, by their magnitude among all that are given.

    Args:
        weights: Compared with each other.
        share: How many of all become zero, in [0, 1).

    Returns:
        How many became zero: the share, rounded down.

    Examples:
        >>> weight = nn.Parameter(torch.tensor([[0.1, -2.0], [0.3, 1.0]]))
        >>> prune_smallest([weight], 0.5), weight.tolist()
        (2, [[0.0, -2.0], [0.0, 1.0]])
    """
    magnitudes = torch.cat([weight.detach().abs().flatten().float() for weight in weights])
    count = int(share * len(magnitudes))
    removed = torch.zeros(len(magnitudes), dtype=torch.bool, device=magnitudes.device)
    # By rank and not by threshold, so that equal weights do not take more than was asked.
    removed[magnitudes.argsort(stable=True)[:count]] = True
    parts = removed.split([weight.numel() for weight in weights])
    with torch.no_grad():
        for weight, part in zip(weights, parts, strict=True):
            weight.masked_fill_(part.reshape(weight.shape), 0)
    return count
