"""The detector *weights*: how each layer's weights are distributed.

After Wang and Kerschbaum, 'Attacks on Digital Watermarks for Deep Neural Networks' (ICASSP 2019),
who found Uchida's marks by the standard deviation of the weights.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.detectors.statistics import TINY, Floats, kurtosis, spectrum
from benchmarks.detectors.view import ModelView

__all__ = ["weight_features"]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def weight_features(view: ModelView) -> Floats:
    """Statistics of each layer's weights: float64 [16 * layers]."""
    return np.concatenate([_layer_features(weight) for weight in view.weights])


def _layer_features(weight: NDArray[np.float32]) -> list[float]:
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    values = rows.ravel()
    lengths = np.linalg.norm(rows, axis=1)
    scaled = (values - values.mean()) / (values.std() + TINY)
    return [
        float(np.log(values.std() + TINY)),
        float(values.mean() / (values.std() + TINY)),
        float((scaled**3).mean()),
        float(kurtosis(values)),
        *(float(number) for number in np.quantile(scaled, _QUANTILES)),
        float(np.log(lengths.mean() + TINY)),
        float(lengths.std() / (lengths.mean() + TINY)),
        float(lengths.max() / (lengths.mean() + TINY)),
        *spectrum(rows),
    ]
