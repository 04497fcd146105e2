"""Low rank: of every weight matrix only the largest singular values stay."""

import copy
import math

import torch
from torch import Tensor

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.prune import prunable
from deepsigns_registry.attacks.strength import parse_share
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["LowRank"]

_LEAST_RANK = 16


class LowRank:
    """The nearest matrix of a lower rank for every weight; the strength is the share that goes.

    Of a layer's singular values the smallest become zero (Eckart and Young 1936), this share of
    them, but 16 always stay: a layer of ten classes has no more, and needs them all. A
    convolution counts as the matrix from its window to its channels.

    Examples:
        >>> LowRank().parse("0.875")
        0.875
    """

    name = "lowrank"

    def parse(self, strength: str) -> float:
        """Reads a share in (0, 1).

        Raises:
            ConfigurationError: It is no such number.
        """
        return parse_share(self.name, strength, "each weight's singular values")

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,  # noqa: ARG002 - needs none
        *,
        seed: int,  # noqa: ARG002 - nothing is random
        progress: Progress | None = None,
    ) -> TappedModel:
        """Lowers the ranks of a copy; see `Attack.apply`.

        Raises:
            CouldNotCheckError: The model has no float weights, or they are not finite.
        """
        attacked = copy.deepcopy(model).eval()
        weights = prunable(attacked, self.name)
        with torch.no_grad():
            for weight in weights:
                weight.copy_(_lowered(weight, strength, self.name))
        if progress is not None:
            progress(1.0, f"{len(weights)} weights of a lower rank")
        return attacked


def _lowered(weight: Tensor, share: float, attack: str) -> Tensor:
    matrix = weight.flatten(1).double()
    try:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    except RuntimeError as error:
        raise CouldNotCheckError(
            f"attack {attack}: a weight has no singular values: {' '.join(str(error).split())}",
            advice="look for NaN in the model's weights",
        ) from None
    kept = max(_LEAST_RANK, len(values) - math.floor(share * len(values)))
    lowered: Tensor = (left[:, :kept] * values[:kept]) @ right[:kept]
    return lowered.to(weight.dtype).reshape(weight.shape)
