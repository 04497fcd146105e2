"""The detector *unmoved weights*, made for `spread`: weights that no training ever moved.

Layers start from a uniform distribution whose bound follows from their inputs (He et al. 2015, as
PyTorch draws it). Behind an input that is the same for every sample, and into a neuron that never
answers, weights stay as they were drawn: none is beyond the bound, and their distribution has sharp
edges. Noise on all weights blurs them.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.detectors.statistics import TINY, Floats, kurtosis
from benchmarks.detectors.view import ModelView

__all__ = ["unmoved_weight_features"]

# Edges of a histogram of sizes, in bounds: narrow where the distribution ends.
_EDGES = (0.9, 0.96, 0.98, 1.0, 1.02, 1.04, 1.1)
# Rows or columns whose weights are looked at as those that may never have moved.
_FEW = 8


def unmoved_weight_features(view: ModelView) -> Floats:
    """Statistics of each layer's weights against their first bound: float64 [17 * layers]."""
    return np.concatenate([_layer_features(weight) for weight in view.weights])


def _layer_features(weight: NDArray[np.float32]) -> list[float]:
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    scaled = rows * np.sqrt(rows.shape[1])
    sizes = np.abs(scaled)
    shares = np.diff([(sizes <= edge).mean() for edge in _EDGES])
    found = [*np.log(shares + 1 / sizes.size)]
    for side in (scaled, scaled.T):
        reach = np.abs(side).max(axis=1)
        still = side[np.argsort(reach, kind="stable")[:_FEW]]
        found += [
            np.log(reach.min() + TINY),
            np.log(np.sort(reach)[: 4 * _FEW].mean() + TINY),
            np.log((np.abs(still) > 1).mean() + 1 / still.size),
            float(kurtosis(still.ravel())),
            np.log(still.std() + TINY),
        ]
    return [*(float(number) for number in found), float((reach <= 1).mean())]
