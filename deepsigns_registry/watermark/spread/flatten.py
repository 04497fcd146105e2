"""What of a weight matrix is compared with the pattern: everything that is large made small.

The pattern is white: it lies in all rows, columns and directions alike. What a network has learned,
and what a thief's training adds, lies in few of them. So rows and columns are brought to one length
and no direction is left larger than the median of all, before the correlation is taken. Whatever is
done here does not look at the key, so that the correlation of a matrix which does not depend on the
key stays standard normal. On Fashion-MNIST (perceptron, strength 0.05) it turned log10 p from -358
to -853 as marked, and from -78 to -526 after an epoch of weight decay 6 and five of fine-tuning.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["flattened"]

Floats = NDArray[np.float32]

_ROUNDS = 5
# Of larger matrices the directions take too long; rows and columns are evened all the same.
_MOST_DIRECTIONS = 2048
_NOTHING = 1e-12


def flattened(weight: Floats) -> Floats:
    """A matrix with its rows, columns and directions evened.

    Args:
        weight: float32 [rows, columns], finite.

    Returns:
        float32 [rows, columns]; zero where a row or a column is zero.

    Examples:
        >>> even = flattened(np.diag([1.0, 10.0, 100.0]).astype(np.float32))
        >>> even.astype(float).round(3).tolist()
        [[1.732, 0.0, 0.0], [0.0, 1.732, 0.0], [0.0, 0.0, 1.732]]
    """
    evened = weight.astype(np.float64)
    for _ in range(_ROUNDS):
        for axis in (0, 1):
            lengths = np.sqrt(np.square(evened).mean(axis=axis, keepdims=True))
            evened = np.divide(evened, lengths, out=np.zeros_like(evened), where=lengths > _NOTHING)
    wide = evened.shape[0] <= evened.shape[1]
    narrow = evened if wide else evened.T
    if len(narrow) > _MOST_DIRECTIONS:
        return evened.astype(np.float32)
    squares, directions = np.linalg.eigh(narrow @ narrow.T)
    lengths = np.sqrt(np.maximum(squares, 0))
    live = lengths > _NOTHING * lengths.max(initial=0)
    if not live.any():
        return evened.astype(np.float32)
    shrunk = np.ones_like(lengths)
    shrunk[live] = np.minimum(1, np.median(lengths[live]) / lengths[live])
    even = (directions * shrunk) @ (directions.T @ narrow)
    return np.ascontiguousarray(even if wide else even.T, np.float32)
