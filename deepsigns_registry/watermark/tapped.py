"""One view of a model: outputs, and the activation at a named tap."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsigns_registry.watermark.tap import Layout

__all__ = ["Tapped", "TappedModel", "pool", "run_batched"]


class Tapped(NamedTuple):
    """What one batch gives.

    Attributes:
        outputs: float [batch, classes] logits, or what a model of another task gives.
        activation: float [batch, neurons], pooled (see `pool`).
        weight: float [neurons, ...], the weight behind the tap (see `TappedModel.tap_weight`);
            only in what an objective is given that asks for it, and only if there is one.
    """

    outputs: Tensor
    activation: Tensor
    weight: Tensor | None = None


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

    def as_registered(self, inputs: Tensor) -> Tapped:
        """The same as `forward`, with the outputs that the model's own file gives.

        They differ for a classifier that ends in a softmax or sigmoid: `forward` gives logits.
        """
        tapped: Tapped = self(inputs)
        return tapped

    def tap_weight(self) -> Tensor | None:
        """The weight of the layer that computes the tap: float [neurons, ...].

        A view of the parameter, so that a loss on it trains the model, with one row a neuron.
        Activation functions, normalisation and pooling between that layer and the tap are
        walked over. None when no one layer with a weight computes the tap.
        """
        return None

    def tap_layout(self) -> Layout | None:
        """Where the channels of the pooled tap stand, as `tap.compare_taps` needs it.

        Returns:
            `Layout(1, 1)` when the neurons are channels. A flattened feature map
            [batch, channels * height * width] has `Layout(1, height * width)`, flattened tokens
            [batch, tokens * channels] have `Layout(tokens, 1)`. None when it is not known.
        """
        return Layout()


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

    Examples:
        >>> pool(torch.arange(8.0).reshape(1, 2, 2, 2))
        tensor([[1.5000, 5.5000]])
    """
    if activation.ndim == 2:
        return activation
    if activation.ndim == 3:
        return activation.mean(dim=1)
    return activation.flatten(2).mean(dim=2)


@contextmanager
def _full_precision() -> Iterator[None]:
    """By default cuDNN keeps ten bits of a factor, and others could not derive the same values."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def run_batched(
    model: TappedModel,
    inputs: NDArray[np.float32],
    device: torch.device | str,
    batch: int = 512,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Runs a model over many samples without gradients, in full float32 on every device.

    Args:
        model: It is moved to the device and set to evaluation.
        inputs: float32 [samples, ...].
        device: Where to run.
        batch: Samples at a time.

    Returns:
        Outputs float32 [samples, classes] and pooled activation float32 [samples, neurons].
    """
    model.to(device).eval()
    outputs, activations = [], []
    with torch.no_grad(), _full_precision():
        for start in range(0, len(inputs), batch):
            chunk = np.ascontiguousarray(inputs[start : start + batch], dtype=np.float32)
            tapped = model(torch.from_numpy(chunk).to(device))
            outputs.append(tapped.outputs.float().cpu().numpy())
            activations.append(tapped.activation.float().cpu().numpy())
    return np.concatenate(outputs), np.concatenate(activations)
