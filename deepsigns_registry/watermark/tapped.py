"""One view of a model: outputs, and the activation at a named tap."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["Tapped", "TappedModel", "pool"]


class Tapped(NamedTuple):
    """What one batch gives.

    Attributes:
        outputs: float [batch, classes], logits.
        activation: float [batch, neurons], pooled (see `pool`).
    """

    outputs: Tensor
    activation: Tensor


class TappedModel(nn.Module, ABC):
    """A trainable model that shows its outputs and the activation at one hidden tap.

    Embedding, extraction and every attack are written against this class; adapters exist for
    an eager module, a `torch.export` program and an ONNX graph.

    Attributes:
        tap: Name of the tap in the adapter's own naming (module path, or tensor name).
    """

    tap: str

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tapped:
        """Maps a batch [batch, ...] to its outputs and its pooled activation."""


def pool(activation: Tensor) -> Tensor:
    """Reduces an activation to one value a neuron.

    Channels of a feature map (batch, channels, height, width) are averaged over positions;
    tokens (batch, tokens, features) over tokens. So a neuron is what a permutation of the
    model can move.

    Args:
        activation: float [batch, neurons], [batch, tokens, neurons] or
            [batch, neurons, height, width].

    Returns:
        float [batch, neurons].
    """
    if activation.ndim == 2:
        return activation
    if activation.ndim == 3:
        return activation.mean(dim=1)
    return activation.flatten(2).mean(dim=2)
