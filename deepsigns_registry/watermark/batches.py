"""Batches of the training data, in an order that a seed decides and a checkpoint keeps."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RESIDENT_BYTES", "Batches", "in_turn"]

RESIDENT_BYTES = 1 << 30
"""Data up to this size is kept on the accelerator for the whole run."""


class Batches:
    """Training batches without end; each sample once before any comes again.

    Args:
        columns: What each sample has: its input, its target, ...; one row a sample in each.
        size: Samples a batch; all of them when there are fewer.
        seed: Of the order.
        device: Where the batches are needed.
    """

    def __init__(
        self,
        *columns: NDArray[Any],
        size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        resident = sum(column.nbytes for column in columns) <= RESIDENT_BYTES
        kept = device if resident else torch.device("cpu")
        self._columns = [torch.from_numpy(column).to(kept) for column in columns]
        self._samples = len(columns[0])
        self._size = min(size, self._samples)
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64, device=kept)

    def next(self) -> list[Tensor]:
        """The columns of the next batch, on the device."""
        rows, self._order = in_turn(self._order, self._size, self._samples, self._generator)
        return [self._take(column, rows) for column in self._columns]

    def _take(self, values: Tensor, rows: Tensor) -> Tensor:
        taken = values.index_select(0, rows)
        if self._device.type == "cuda" and not taken.is_cuda:
            # From page-locked memory the copy does not make the processor wait.
            return taken.pin_memory().to(self._device, non_blocking=True)
        return taken.to(self._device)

    def state_dict(self) -> dict[str, Tensor]:
        """What decides the batches to come."""
        return {"order": self._order.cpu().clone(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on where `state_dict` was called."""
        self._order = state["order"].to(self._order.device)
        self._generator.set_state(state["generator"])


def in_turn(
    order: Tensor, size: int, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The next of some samples, every one of which comes once before any comes again.

    Args:
        order: int64 [left], those that have not come yet in this turn.
        size: How many are wanted.
        samples: How many there are, at least `size`.
        generator: On the processor, where an order is the same for every device.

    Returns:
        int64 [size], which come now, and those that are left then.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> now, left = in_turn(torch.tensor([4, 2, 0]), 2, 5, generator)
        >>> now.tolist(), left.tolist()
        ([4, 2], [0])
    """
    if len(order) < size:
        fresh = torch.randperm(samples, generator=generator)
        order = torch.cat([order, fresh.to(order.device)])
    return order[:size], order[size:]
