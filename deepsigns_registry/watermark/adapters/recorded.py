"""One differentiable pass of a tapped model: the graph that automatic differentiation records."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deepsigns_registry.watermark.tapped import Tapped, TappedModel

__all__ = ["LEAF", "VIEWS", "Recorded", "operator", "recorded"]

LEAF = "torch::autograd::AccumulateGrad"
VIEWS = frozenset(
    {
        *("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Clone"),
        *("Transpose", "T", "Permute"),
    }
)


class Recorded(NamedTuple):
    """What one pass leaves.

    Attributes:
        inputs: The two rows that were given, a leaf of the graph.
        tap: The node that computed the pooled activation; None when nothing is differentiable.
        shape: Shape of the pooled activation.
    """

    inputs: Tensor
    tap: Any
    shape: tuple[int, ...]


def recorded(model: TappedModel, row: Sequence[int]) -> Recorded | None:
    """Runs a model once on two rows of zeros, in evaluation; it is left as it was.

    Args:
        model: The model.
        row: Shape of one input.

    Returns:
        The recorded pass, or None when the model has no parameter.
    """
    first = next(model.parameters(), None)
    if first is None:
        return None
    inputs = torch.zeros(2, *row, device=first.device, dtype=first.dtype, requires_grad=True)
    with _differentiable(model):
        tapped: Tapped = model(inputs)
        activation = tapped.activation
    return Recorded(inputs, activation.grad_fn, tuple(activation.shape))


def operator(node: Any) -> str:
    """Name of the operator that a node of the graph belongs to, such as `Convolution`."""
    name = str(node.name())
    return name.rstrip("0123456789").removesuffix("Backward") if name != LEAF else name


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    model.eval()
    try:
        for parameter in frozen:
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for module, mode in modes.items():
            module.training = mode
