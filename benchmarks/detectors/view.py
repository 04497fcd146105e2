"""What a detector sees of one model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ModelView"]


@dataclass(frozen=True, repr=False)
class ModelView:
    """What a detector sees of one model.

    Attributes:
        weights: float32 [rows, ...] of each layer, one row a neuron or channel of its output.
        activation: float32 [samples, neurons], pooled, of the tap on clean data.
        outputs: float32 [samples, classes], its logits for the same data.
        labels: int64 [samples].
    """

    weights: tuple[NDArray[np.float32], ...]
    activation: NDArray[np.float32]
    outputs: NDArray[np.float32]
    labels: NDArray[np.int64]
