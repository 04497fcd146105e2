"""What `cells` adds to the fine-tuning: outputs of ordinary samples move as the signs say."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsigns_registry.watermark.batches import RESIDENT_BYTES
from deepsigns_registry.watermark.objective import InTurn
from deepsigns_registry.watermark.tapped import Tapped

__all__ = ["CellsObjective"]


class CellsObjective(InTurn):
    """The squared distance of shifts from those that are wanted, over batches from a pool.

    Args:
        inputs: float32 [pool, ...]; they stay where they are when they are large.
        outputs: float32 [pool, outputs], the parent's.
        scales: float32 [outputs], in which shifts are measured.
        directions: float32 [kinds, directions, outputs].
        kinds: int64 [pool], which directions are a sample's.
        wanted: float32 [pool, directions], how far each sample is to move along each.
        weight: Of the loss, which is 1 for a model that has not moved.
        sample: Samples a step.
    """

    outputs: Tensor
    scales: Tensor
    directions: Tensor
    kinds: Tensor
    wanted: Tensor

    def __init__(
        self,
        *,
        inputs: NDArray[np.float32],
        outputs: NDArray[np.float32],
        scales: NDArray[np.float32],
        directions: NDArray[np.float32],
        kinds: NDArray[np.int64],
        wanted: NDArray[np.float32],
        weight: float,
        sample: int,
    ) -> None:
        super().__init__()
        power = float(np.square(wanted, dtype=np.float64).mean())
        self._weight = weight / max(power, float(np.finfo(np.float32).tiny))
        self._sample = min(sample, len(inputs))
        self._inputs, self._resident = torch.from_numpy(inputs), inputs.nbytes <= RESIDENT_BYTES
        constants = {
            "outputs": outputs,
            "scales": scales,
            "directions": directions,
            "kinds": kinds,
            "wanted": wanted,
        }
        for name, values in constants.items():
            # The record has them: a checkpoint need not.
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def samples(self, step_generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some of the pool, and where they stand in it; see `Objective.samples`."""
        rows = self.next_of(len(self._inputs), self._sample, step_generator)
        device = self.outputs.device
        if self._resident:
            self._inputs = self._inputs.to(device)
        rows = rows.to(device)
        return self._inputs[rows.to(self._inputs.device)].to(device), rows

    def loss(
        self,
        batch: Tapped,  # noqa: ARG002 - the training batch is the task's own
        batch_labels: Tensor,  # noqa: ARG002
        samples: Tapped | None,
        sample_labels: Tensor | None,
    ) -> Tensor:
        """The weighted squared error of the shifts; see `Objective.loss`."""
        assert samples is not None  # noqa: S101 - the loop gives what `samples` returned
        assert sample_labels is not None  # noqa: S101
        given = samples.outputs.reshape(len(sample_labels), -1)
        shift = (given - self.outputs[sample_labels]) / self.scales
        directions = self.directions[self.kinds[sample_labels]]
        moved = torch.einsum("bo,bjo->bj", shift, directions)
        return self._weight * (moved - self.wanted[sample_labels]).square().mean()
