"""Pruning: the smallest weights of the whole model become zero."""

import copy

import numpy as np
import torch

from deepsigns_registry.attacks.attack import Progress, parse_number
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Prune"]

_ADVICE = "write the share of the weights to remove, above 0 and below 1, such as prune:0.5"


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
        share = parse_number(self.name, strength, _ADVICE)
        if not 0 < share < 1:
            raise ConfigurationError(
                f"attack {self.name}: strength {strength} is not between 0 and 1", advice=_ADVICE
            )
        return share

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
        weights = [weight for weight in attacked.parameters() if weight.ndim > 1]
        if not weights:
            raise CouldNotCheckError(
                "attack prune: the model has no float weights to prune",
                advice="attack the file from before quantisation",
            )
        magnitudes = np.concatenate(
            [weight.detach().abs().flatten().float().cpu().numpy() for weight in weights]
        )
        removed = np.zeros(len(magnitudes), dtype=bool)
        # By rank and not by threshold, so that equal weights do not take more than was asked.
        count = int(strength * len(magnitudes))
        if count:
            removed[np.argpartition(magnitudes, count - 1)[:count]] = True
        start = 0
        with torch.no_grad():
            for weight in weights:
                part = torch.from_numpy(removed[start : start + weight.numel()])
                weight[part.reshape(weight.shape).to(weight.device)] = 0
                start += weight.numel()
        if progress is not None:
            progress(1.0, f"{count} of {len(magnitudes)} weights are zero")
        return attacked
