"""What a mark costs: accuracy, and the paired drop against a control."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["accuracy", "correct", "paired_drop"]

_QUANTILE = 1.959963984540054


def correct(
    model: TappedModel, data: LabelledData, device: torch.device | str = "cpu"
) -> NDArray[np.bool_]:
    """Which samples a model classifies as labelled: bool [samples]."""
    outputs, _ = run_batched(model, data.inputs, torch.device(device))
    return np.asarray(outputs.argmax(axis=1) == data.labels, dtype=np.bool_)


def accuracy(model: TappedModel, data: LabelledData, device: torch.device | str = "cpu") -> float:
    """Share of samples classified as labelled, in [0, 1]."""
    return float(correct(model, data, device).mean())


def paired_drop(
    parent_correct: NDArray[np.bool_], marked_correct: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Loss of accuracy on the same samples, with its 95% interval.

    The interval is that of Agresti and Min (2005) for a difference of paired proportions:
    Wald's after half a sample was added to each cell of the 2 x 2 table, which keeps its
    coverage when few samples changed.

    Args:
        parent_correct: bool [samples].
        marked_correct: bool [samples], in the same order.

    Returns:
        Drop (positive when the marked model is worse), lower and upper bound, in [-1, 1].

    Raises:
        ValueError: The two do not belong together.

    Examples:
        >>> before = np.array([True] * 95 + [False] * 5)
        >>> after = np.array([True] * 93 + [False] * 7)
        >>> [round(value, 3) for value in paired_drop(before, after)]
        [0.02, -0.013, 0.053]
    """
    if parent_correct.shape != marked_correct.shape or not parent_correct.size:
        raise ValueError(
            f"paired answers of shapes {parent_correct.shape} and {marked_correct.shape}"
        )
    size = parent_correct.size
    lost = int((parent_correct & ~marked_correct).sum())
    won = int((~parent_correct & marked_correct).sum())
    total, worse, better = size + 2, lost + 0.5, won + 0.5
    middle = (worse - better) / total
    spread = math.sqrt((worse + better) - (worse - better) ** 2 / total) / total
    low, high = middle - _QUANTILE * spread, middle + _QUANTILE * spread
    return (lost - won) / size, max(-1.0, low), min(1.0, high)
