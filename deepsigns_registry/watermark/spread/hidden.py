"""Where a pattern may lie without being seen by somebody who knows the method but not the key.

Noise on weights that a training has moved is lost among what moved them. It shows on weights that
still are what they were: drawn from a uniform distribution with sharp bounds, because no sample
reaches them (behind an input that never changes, into a neuron that never answers); zero, because
they were pruned; on a grid, because they were quantised; or frozen, as those of a network that is
published. There nothing is added, and reading, which compares with the whole pattern, loses little.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["STRENGTH", "Reach", "can_hide", "count_reached"]

STRENGTH = 0.03
"""Standard deviation of a pattern that detectors do not see, in those of each matrix."""

# Weights that are looked at, and how many values among them are a grid of 10 bits.
_LOOKED_AT, _GRID, _EACH = 1 << 16, 1024, 8
# Steps in which it is seen which weights samples reach; each costs a backward pass more.
_STEPS = 50
# Samples in each of them, before any training.
_ROWS = 64


def can_hide(parameter: Tensor) -> bool:
    """Whether a matrix is trained at all, and holds more values than a grid has.

    Args:
        parameter: A weight of the unmarked parent.

    Examples:
        >>> weight = torch.linspace(-1, 1, 20_000)
        >>> grid = (weight * 7).round() / 7
        >>> can_hide(nn.Parameter(weight)), can_hide(nn.Parameter(grid)), can_hide(weight)
        (True, False, False)
    """
    values = parameter.detach().flatten()[:_LOOKED_AT]
    distinct = len(values.unique())
    return parameter.requires_grad and not (distinct <= _GRID and _EACH * distinct <= len(values))


class Reach(nn.Module):
    """Which weights training samples reach, by the gradients of the first steps.

    A weight that none of them reached has not been moved by any training on such data. What was
    seen so far goes into checkpoints.

    Args:
        names: Of the parameters.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)
        self._weights: list[Tensor] = []
        self.register_buffer("looks", torch.zeros((), dtype=torch.int64))

    def watch(self, model: TappedModel) -> None:
        """Takes the model that is trained, before its first step or where a run goes on."""
        parameters = dict(model.named_parameters())
        self._weights = [parameters[name] for name in self._names]
        for place, weight in enumerate(self._weights):
            self.register_buffer(f"live_{place}", weight.detach() != 0)
            self.register_buffer(f"reached_{place}", torch.zeros_like(weight, dtype=torch.bool))

    def look(self, outputs: Tensor) -> None:
        """Notes which weights have a part in a batch's outputs, during the first steps.

        Args:
            outputs: With their graph, which is kept.
        """
        looks = self.get_buffer("looks")
        # A model that computes without gradients cannot be trained, and reaches nothing.
        if looks >= _STEPS or not outputs.requires_grad:
            return
        looks += 1
        # One number that no weight can drop out of, as from the sum of probabilities.
        random = torch.Generator().manual_seed(int(looks))
        drawn = torch.randn(outputs.shape, generator=random).to(outputs)
        slopes = torch.autograd.grad(
            (outputs * drawn).sum(), self._weights, retain_graph=True, allow_unused=True
        )
        for place, slope in enumerate(slopes):
            if slope is not None:
                self.get_buffer(f"reached_{place}").logical_or_(slope != 0)

    def masks(self) -> list[Tensor]:
        """Where a pattern may be added: bool, in the shape of each parameter."""
        return [
            self.get_buffer(f"reached_{place}") & self.get_buffer(f"live_{place}")
            for place in range(len(self._names))
        ]


def count_reached(
    model: TappedModel, names: Sequence[str], inputs: NDArray[np.float32], device: torch.device
) -> int:
    """How many weights of an unmarked parent could carry a pattern.

    Args:
        model: The parent; it is left as it is.
        names: Of its parameters.
        inputs: float32 [samples, ...], the training samples.
        device: Where it runs.
    """
    if not names:
        return 0
    reach = Reach(names)
    model = model.to(device).eval()
    reach.watch(model)
    rows = np.random.default_rng(0).permutation(len(inputs))[: _STEPS * _ROWS]
    for batch in np.split(rows, range(_ROWS, len(rows), _ROWS)):
        with torch.enable_grad():
            reach.look(model(torch.from_numpy(inputs[batch]).to(device)).outputs.float())
    return sum(int(mask.sum()) for mask in reach.masks())
