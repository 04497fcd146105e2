"""The detector *smallest weights*, made for `spread`: noise where a network has next to nothing.

White noise lies in all rows, columns and directions alike. So the weakest of them show it first,
and values that were exactly zero (pruned) or equal (quantised) no longer are.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.detectors.statistics import TINY, Floats
from benchmarks.detectors.view import ModelView

__all__ = ["smallest_weight_features"]

_LOW = (0.0, 0.02, 0.1, 0.3)


def smallest_weight_features(view: ModelView) -> Floats:
    """Statistics of what is smallest in each layer: float64 [15 * layers]."""
    return np.concatenate([_layer_features(weight) for weight in view.weights])


def _layer_features(weight: NDArray[np.float32]) -> list[float]:
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    deviation = rows.std() + TINY
    singular = np.linalg.svd(rows, compute_uv=False)
    found: list[float] = []
    for lengths in (rows.std(axis=1) / deviation, rows.std(axis=0) / deviation, singular):
        low = np.quantile(lengths, _LOW)
        found += [float(np.log(each / (np.median(lengths) + TINY) + TINY)) for each in low]
    # Relative to pure noise of the same size (Marchenko and Pastur 1967).
    widest = deviation * (np.sqrt(rows.shape[0]) + np.sqrt(rows.shape[1]))
    return [
        *found,
        float((rows == 0).mean()),
        float(len(np.unique(weight)) / weight.size),
        float(np.log((singular < widest).mean() + TINY)),
    ]
