"""What several detectors measure."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["TINY", "Floats", "class_means", "kurtosis", "spectrum", "summary"]

Floats = NDArray[np.float64]

TINY = 1e-12
"""What is added where a logarithm or a quotient could be of nothing."""


def kurtosis(values: Floats, axis: int | None = None) -> Floats:
    """Fourth moment over the squared variance; 0 of what never changes, scipy's would be NaN."""
    offset = values - values.mean(axis=axis, keepdims=axis is not None)
    variance = (offset**2).mean(axis=axis)
    return np.asarray((offset**4).mean(axis=axis) / (variance + TINY) ** 2, dtype=np.float64)


def spectrum(rows: Floats) -> list[float]:
    """Largest singular value, its share of the energy, entropy, and share of the upper half."""
    singular = np.linalg.svd(rows, compute_uv=False)
    energy = singular**2 / ((singular**2).sum() + TINY)
    return [
        float(np.log(singular[0] + TINY)),
        float(energy[0]),
        float(special.entr(energy).sum()),
        float(energy[: (len(energy) + 1) // 2].sum()),
    ]


def summary(values: Floats) -> list[float]:
    """Mean, deviation, and quantiles at 5, 50 and 95%."""
    quantiles = np.quantile(values, (0.05, 0.5, 0.95))
    return [float(values.mean()), float(values.std()), *(float(number) for number in quantiles)]


def class_means(values: Floats, labels: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """The mean of each class, float64 [classes, neurons], and the place of each sample's."""
    classes, owner = np.unique(labels, return_inverse=True)
    means = np.stack([values[owner == place].mean(axis=0) for place in range(len(classes))])
    return means, np.asarray(owner, dtype=np.int64)
