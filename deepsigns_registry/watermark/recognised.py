"""Whether a layer can be recognised by its values, and by nothing that is not the parent's.

The permutation test of `tap` holds where the channels of another network could stand in any other
order. They could not where something gives them an order that all networks share: inputs that are
handed on beside what was computed of them, positions that are encoded by fixed numbers. So a layer
is tried before it is taken: on networks that have all but the parent's learned values.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.tap import Layout, compare_taps
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["recognised_layout"]

# What gives channels an order gives it in every network, so that few tell.
_STRANGERS = 2


def recognised_layout(
    model: TappedModel,
    inputs: NDArray[np.float32],
    activations: NDArray[np.float32],
    carriers: int,
    device: torch.device,
) -> Layout:
    """Where the channels of the tap stand, of a layer that its values tell from other networks'.

    Args:
        model: The unmarked parent; its weights are changed for a while.
        inputs: float32 [triggers, ...]; those of one carrier class stand together.
        activations: float32 [triggers, neurons], the parent's.
        carriers: Number of carrier classes.
        device: Where the model runs.

    Raises:
        UnmarkableError: The parent's own tap could not be told by value, or a network that shares
            nothing with the parent but its architecture is taken for it.
    """
    layout = model.tap_layout()
    if layout is None:
        raise UnmarkableError(
            f"layer '{model.tap}' holds values whose channels are not known, or come in the order "
            "of the input's",
            advice="choose another hidden layer",
        )
    own = compare_taps(activations, activations, carriers=carriers, layout=layout)
    if own is None or not own.verified:
        raise UnmarkableError(
            f"layer '{model.tap}' has too few channels that differ to be recognised by its values",
            advice="choose another hidden layer",
        )
    generator = torch.Generator().manual_seed(0)
    with _learned(model) as learned:
        for _ in range(_STRANGERS):
            _shuffle(learned, generator)
            stranger = run_batched(model, inputs, device)[1]
            found = compare_taps(activations, stranger, carriers=carriers, layout=layout)
            if found is not None and found.verified:
                raise UnmarkableError(
                    f"layer '{model.tap}' gives much the same values whatever the model has "
                    "learned",
                    advice="choose another hidden layer",
                )
    return layout


@contextmanager
def _learned(model: nn.Module) -> Iterator[list[Tensor]]:
    """The learned tensors of a network, which have their values again afterwards."""
    learned = [*model.parameters(), *(buffer for buffer in model.buffers() if _is_learned(buffer))]
    kept = [tensor.detach().clone() for tensor in learned]
    try:
        yield learned
    finally:
        with torch.no_grad():
            for tensor, values in zip(learned, kept, strict=True):
                tensor.copy_(values)


def _shuffle(learned: list[Tensor], generator: torch.Generator) -> None:
    """Puts the numbers of each tensor into another order: the same network, but a stranger."""
    with torch.no_grad():
        for tensor in learned:
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def _is_learned(buffer: Tensor) -> bool:
    """Statistics are; encodings of positions, which have two dimensions and more, are not."""
    return buffer.ndim == 1 and buffer.is_floating_point()
