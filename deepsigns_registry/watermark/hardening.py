"""Hardening: steps that see the model as an attack would leave it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["Hardening"]


class Hardening:
    """Perturbs weights for the length of a step's forward and backward pass.

    The gradients of the perturbed model move the true weights, so that the mark is trained to
    be there after pruning and after noise as well.

    Args:
        weights: What is trained; biases and norms (one axis) are left alone.
        settings: `pruning_masks` and `weight_noise`.
    """

    def __init__(self, weights: Sequence[Tensor], settings: MarkSettings) -> None:
        self._weights = [weight for weight in weights if weight.ndim > 1]
        self._masks = settings.pruning_masks
        self._noise = settings.weight_noise

    @contextmanager
    def perturbed(self, generator: torch.Generator) -> Iterator[None]:
        """Weights are perturbed inside, and as before afterwards.

        Args:
            generator: The only source of randomness; on the CPU.
        """
        if not self._masks and not self._noise:
            yield
            return
        kept = [weight.detach().clone() for weight in self._weights]
        with torch.no_grad():
            self._add_noise(generator)
            self._prune(generator)
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, before in zip(self._weights, kept, strict=True):
                    weight.copy_(before)

    def _add_noise(self, generator: torch.Generator) -> None:
        for weight in self._weights if self._noise else ():
            noise = torch.randn(weight.shape, generator=generator).to(weight.device)
            weight.add_(noise * weight.std() * self._noise)

    def _prune(self, generator: torch.Generator) -> None:
        if not self._masks or torch.rand(1, generator=generator) < 0.5:
            return
        for weight in self._weights:
            share = self._masks * float(torch.rand(1, generator=generator))
            rank = max(1, int(share * weight.numel()))
            threshold = weight.abs().flatten().kthvalue(rank).values
            weight.mul_(weight.abs() > threshold)
