"""What a model is trained for, and how good it is at it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.data import Task

__all__ = [
    "SCORES",
    "are_probabilities",
    "are_sigmoids",
    "cosines",
    "squared_errors",
    "task_score",
]

# Half precision adds up to one no better.
_SUM_TOLERANCE = 1e-3
SCORES: dict[Task, str] = {
    "classification": "accuracy",
    "regression": "R2",
    "embedding": "cosine to the parent",
}
"""What the score of each task is called; 1 is the best of each."""


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
