"""What a mark costs: the score of the model's task, and the paired drop."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel, run_batched
from deepsigns_registry.watermark.task import cosines, squared_errors, task_score

__all__ = ["Cost", "accuracy", "correct", "mark_cost", "paired_drop"]

_QUANTILE = 1.959963984540054


class Cost(NamedTuple):
    """What a mark costs on the same samples, in the score of the task; see `task.SCORES`.

    Attributes:
        parent: Score of the unmarked parent, at most 1; of an embedding model 1, as it is
            compared with itself.
        marked: Score of the marked model.
        drop: Parent minus marked.
        low: Lower bound of the 95% interval of the drop.
        high: Upper bound.
    """

    parent: float
    marked: float
    drop: float
    low: float
    high: float


def mark_cost(parent: NDArray[np.float32], marked: NDArray[np.float32], data: LabelledData) -> Cost:
    """Compares what two models give for the same samples.

    The interval of a classifier is that of `paired_drop`; of others the normal one of the mean
    of the paired differences, which for R2 takes the variance of the targets as known.

    Args:
        parent: float32 [samples, outputs].
        marked: float32 [samples, outputs].
        data: The samples.

    Examples:
        >>> data = LabelledData(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1]))
        >>> parent = np.eye(2, dtype=np.float32)[data.labels]
        >>> cost = mark_cost(parent, parent, data)
        >>> cost.drop
        0.0
    """
    if data.task == "classification":
        answers = [outputs.argmax(axis=1) == data.labels for outputs in (parent, marked)]
        before, after = (float(right.mean()) for right in answers)
        return Cost(before, after, *paired_drop(answers[0], answers[1]))
    wide = parent.reshape(len(data), -1).astype(np.float64)
    narrow = marked.reshape(len(data), -1).astype(np.float64)
    if data.task == "embedding":
        losses = 1 - cosines(narrow, wide)
        before = 1.0
    else:
        targets = data.labels.astype(np.float64)
        losses = squared_errors(narrow, targets) - squared_errors(wide, targets)
        before = task_score(parent, data.labels, data.task)
    drop = float(losses.mean())
    spread = _QUANTILE * float(losses.std()) / math.sqrt(len(losses))
    return Cost(before, before - drop, drop, drop - spread, drop + spread)


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
