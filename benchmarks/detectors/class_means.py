"""The detector *class means*, made for the white box: carrier classes whose mean was moved.

The bits are signs of the projected mean activation of some classes: the projection is random, so
the mark moves their means in all directions alike, where samples of a class hardly vary, and moves
those of the other classes less.
"""

import numpy as np

from benchmarks.detectors.statistics import TINY, Floats, class_means, kurtosis
from benchmarks.detectors.view import ModelView

__all__ = ["class_mean_features"]

# Shares of the samples' variance within classes whose directions are set apart.
_VARIED = (0.9, 0.99)
_PROJECTIONS = 512


def class_mean_features(view: ModelView) -> Floats:
    """Statistics of the class means at the tap: float64 [24]."""
    values = view.activation.astype(np.float64)
    means, owner = class_means(values, view.labels)
    # As the reader does: what all neurons and all classes share is no mark.
    offset = means - means.mean(axis=0)
    offset -= offset.mean(axis=1, keepdims=True)
    within = values - means[owner]
    squares, columns = np.linalg.eigh(within.T @ within)
    directions, squares = columns.T[::-1], np.maximum(squares[::-1], 0)
    energy = np.cumsum(squares) / (squares.sum() + TINY)
    found: list[float] = []
    for share in _VARIED:
        varied = directions[: int(np.searchsorted(energy, share)) + 1]
        rest = offset - (offset @ varied.T) @ varied
        beyond = (rest**2).sum(axis=1) / ((offset**2).sum(axis=1) + TINY)
        found += _by_class(beyond)
    lengths = np.linalg.norm(offset, axis=1) / (within.std() * np.sqrt(values.shape[1]) + TINY)
    found += _by_class(lengths)
    # Entries of a mean that was moved along a Gaussian matrix are more normal than a network's.
    found += _by_class(kurtosis(offset, axis=1))
    random = np.random.default_rng(0).normal(size=(values.shape[1], _PROJECTIONS))
    projected = offset @ random / (np.linalg.norm(offset, axis=1, keepdims=True) + TINY)
    found += [float(kurtosis(projected.ravel())), float(np.abs(projected).mean())]
    floor = np.sqrt((within**2).mean(axis=0) + TINY)
    fisher = np.sqrt(((offset / floor) ** 2).mean(axis=0))
    found += [float(np.log(fisher.mean() + TINY)), float(fisher.std() / (fisher.mean() + TINY))]
    return np.array(found)


def _by_class(values: Floats) -> list[float]:
    """Sorted, so that no class must be known: the ends, the middle, the widest gap, the scatter."""
    ordered = np.log(np.sort(values) + TINY)
    return [
        float(ordered[0]),
        float(np.median(ordered)),
        float(ordered[-1]),
        float(np.diff(ordered).max()),
        float(ordered.std()),
    ]
