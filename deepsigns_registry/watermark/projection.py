"""From class means to signature bits: pure functions, for numpy arrays and torch tensors alike."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["centred", "class_means", "projected", "read_bits"]

Values = TypeVar("Values", NDArray[np.float32], "Tensor")


def centred(means: Values) -> Values:
    """Each row minus its own mean over neurons.

    Means of rectified activations share a large offset that says nothing about the class and
    would dominate the projection. Only the suspect's own values are used.

    Args:
        means: float [rows, neurons].

    Examples:
        >>> centred(np.array([[1.0, 2.0, 6.0]]))
        array([[-2., -1.,  3.]])
    """
    # The transposes let one expression serve numpy's and torch's spelling of "keep the axis".
    rows: Values = (means.T - means.mean(-1)).T
    return rows


def projected(means: Values, projection: Values) -> Values:
    """Each centred row times A: float [rows, bits].

    Args:
        means: float [rows, neurons].
        projection: A, float [neurons, bits].

    Examples:
        >>> projected(np.array([[1.0, 2.0, 6.0]]), np.eye(3)[:, :2])
        array([[-2., -1.]])
    """
    return centred(means) @ projection


def read_bits(means: NDArray[np.float32], projection: NDArray[np.float32]) -> NDArray[np.int8]:
    """G = sigmoid(z) > 1/2, that is z > 0: int8 [rows, bits] of 0 and 1.

    Examples:
        >>> means = np.array([[3.0, 1.0]], dtype=np.float32)
        >>> read_bits(means, np.array([[1.0, -1.0], [0.0, 0.0]], dtype=np.float32)).tolist()
        [[1, 0]]
    """
    return (projected(means, projection) > 0).astype(np.int8)


def class_means(activation: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """Mean activation of each carrier's triggers: float32 [classes, neurons].

    Args:
        activation: float32 [classes * triggers, neurons], the triggers of one class together.
        classes: Number of carrier classes.

    Examples:
        >>> class_means(np.array([[1], [3], [10], [20]], np.float32), classes=2).tolist()
        [[2.0], [15.0]]
    """
    grouped = activation.reshape(classes, -1, activation.shape[-1]).astype(np.float64)
    return np.asarray(grouped.mean(axis=1), dtype=np.float32)
