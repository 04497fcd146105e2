"""What a model is trained for: the loss of its own task (loss0 of the paper) and its score."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.watermark.data import LabelledData, Task
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = [
    "SCORES",
    "Targets",
    "are_probabilities",
    "are_sigmoids",
    "cosines",
    "squared_errors",
    "task_loss",
    "task_score",
    "task_targets",
]

# Half precision adds up to one no better.
_SUM_TOLERANCE = 1e-3
SCORES: dict[Task, str] = {
    "classification": "accuracy",
    "regression": "R2",
    "embedding": "cosine to the parent",
}
"""What the score of each task is called; 1 is the best of each."""


class Targets(NamedTuple):
    """What the outputs are trained towards.

    Attributes:
        values: One row a sample: int64 [samples] classes, float32 [samples, classes]
            probabilities, or float32 [samples, outputs].
        spread: Mean squared deviation of the values from their mean, which makes errors of
            any unit weigh the same against the losses of a mark; 1 for classes.
        own: Whether they are the outputs of the model itself.
    """

    values: NDArray[Any]
    spread: float
    own: bool = False


def task_targets(
    model: TappedModel,
    data: LabelledData,
    device: torch.device | str = "cpu",
    *,
    own: bool = False,
) -> Targets:
    """The targets of a fine-tuning; to be asked before the model changes.

    An embedding model is trained towards the outputs that it has now, as its own training loss
    is not at hand.

    Args:
        model: The parent.
        data: The training samples.
        device: Where the model runs.
        own: Train every model towards the outputs that it has now: what it would otherwise learn
            by heart, in data that is passed over many times, stays as it is.
    """
    if data.task == "classification":
        if not own:
            return Targets(data.labels, 1.0)
        logits = torch.from_numpy(run_batched(model, data.inputs, torch.device(device))[0])
        return Targets(logits.softmax(dim=1).numpy(), 1.0, own)
    values = data.labels
    if data.task == "embedding":
        values = run_batched(model, data.inputs, torch.device(device))[0]
    rows = values.reshape(len(values), -1).astype(np.float32)
    spread = max(float(rows.var(axis=0).mean()), float(np.finfo(np.float32).tiny))
    if own and data.task == "regression":
        outputs = run_batched(model, data.inputs, torch.device(device))[0]
        rows = outputs.reshape(rows.shape)
    return Targets(rows, spread, own)


def task_loss(outputs: Tensor, targets: Tensor, task: Task, spread: float = 1.0) -> Tensor:
    """The loss of a batch, a scalar.

    Cross-entropy for classes; otherwise the squared error relative to the spread of the targets.

    Args:
        outputs: float [batch, outputs]; a regressor of one target may give [batch].
        targets: Rows of `Targets.values`.
        task: The task.
        spread: `Targets.spread`.

    Examples:
        >>> outputs, targets = torch.tensor([1.0, 3.0]), torch.tensor([[1.0], [1.0]])
        >>> float(task_loss(outputs, targets, "regression", spread=4.0))
        0.5
    """
    if task == "classification":
        return functional.cross_entropy(outputs, targets)
    return functional.mse_loss(outputs.reshape(targets.shape), targets) / spread


def task_score(outputs: NDArray[np.float32], targets: NDArray[Any], task: Task) -> float:
    """How good outputs are, at most 1: accuracy, R2, or mean cosine.

    Args:
        outputs: float32 [samples, outputs].
        targets: int64 [samples] classes; float32 [samples, outputs] the targets of a regressor,
            or the outputs of the embedding model that is compared with.
        task: The task.

    Examples:
        >>> targets = np.array([[0.0], [2.0]], dtype=np.float32)
        >>> task_score(np.array([[0.0], [1.0]], dtype=np.float32), targets, "regression")
        0.5
    """
    if task == "classification":
        return float(np.mean(outputs.argmax(axis=1) == targets))
    found = outputs.reshape(targets.shape).astype(np.float64)
    wanted = targets.astype(np.float64)
    if task == "embedding":
        return float(cosines(found, wanted).mean())
    return 1 - float(squared_errors(found, wanted).mean())


def are_probabilities(outputs: NDArray[Any]) -> bool:
    """Whether outputs are probabilities of classes, not logits.

    Args:
        outputs: float [samples, classes].

    Examples:
        >>> are_probabilities(np.array([[0.25, 0.75]])), are_probabilities(np.array([[-1.0, 2.0]]))
        (True, False)
    """
    return bool((outputs >= 0).all()) and np.allclose(outputs.sum(axis=1), 1, atol=_SUM_TOLERANCE)


def are_sigmoids(outputs: NDArray[Any]) -> bool:
    """Whether outputs are probabilities of their own each, as a sigmoid gives, not logits.

    Args:
        outputs: float [samples, classes], of as many samples as can be had: logits that all lie
            in [0, 1] are taken for such probabilities too.

    Examples:
        >>> are_sigmoids(np.array([[0.9, 0.8]])), are_sigmoids(np.array([[0.25, 0.75]]))
        (True, False)
    """
    return bool(((outputs >= 0) & (outputs <= 1)).all()) and not are_probabilities(outputs)


def squared_errors(
    outputs: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared error of each sample relative to the variance of its target: float64 [samples].

    One minus its mean is R2, averaged over the targets.

    Examples:
        >>> targets = np.array([[1.0], [3.0]])
        >>> squared_errors(np.array([[1.0], [2.0]]), targets)
        array([0., 1.])
    """
    relative = (outputs - targets) ** 2 / targets.var(axis=0)
    return np.asarray(relative.mean(axis=1), dtype=np.float64)


def cosines(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each pair of rows; 0 where one of them is zero: float64 [samples].

    Examples:
        >>> cosines(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 0.0]]))
        array([1., 0.])
    """
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = (first * second).sum(axis=1)
    return np.asarray(products / np.maximum(norms, np.finfo(np.float64).tiny), dtype=np.float64)
