"""Where a network has been: the density of training activations in a PCA space.

DeepSigns (section 4.2) draws its queries from rarely explored regions, so that answering
them as the key says costs the model little where its data lives.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Density"]

_MOST_COMPONENTS = 16
_RIDGE = 1e-3


@dataclass(frozen=True)
class Density:
    """A Gaussian mixture, one component a class with a shared covariance, in a PCA space.

    Attributes:
        mean: float64 [neurons].
        axes: float64 [neurons, components]; scaled so that a class's spread is 1 on each.
        centres: float64 [classes, components].
        log_weights: float64 [classes].
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    centres: NDArray[np.float64]
    log_weights: NDArray[np.float64]

    @classmethod
    def fit(cls, activation: NDArray[np.float32], labels: NDArray[np.int64]) -> "Density":
        """Fits the mixture.

        Args:
            activation: float32 [samples, neurons].
            labels: int64 [samples].
        """
        values = activation.astype(np.float64)
        mean = values.mean(axis=0)
        values -= mean
        directions = _principal(values)
        used = directions.shape[1]
        reduced = values @ directions
        present, owner, counts = np.unique(labels, return_inverse=True, return_counts=True)
        centres = np.stack([reduced[owner == c].mean(axis=0) for c in range(len(present))])
        within = reduced - centres[owner]
        covariance = within.T @ within / len(values)
        covariance += _RIDGE * np.trace(covariance) / used * np.eye(used)
        whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
        return cls(
            mean=mean,
            axes=directions @ whitening,
            centres=centres @ whitening,
            log_weights=np.log(counts / len(values)),
        )

    def log_density(self, activation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logarithm of the density, up to a constant: float64 [samples]."""
        reduced = (activation.astype(np.float64) - self.mean) @ self.axes
        distances = ((reduced[:, None] - self.centres) ** 2).sum(axis=-1)
        terms = self.log_weights - distances / 2
        highest = terms.max(axis=1)
        spread: NDArray[np.float64] = np.exp(terms - highest[:, None]).sum(axis=1)
        return np.asarray(highest + np.log(spread), dtype=np.float64)


def _principal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The directions in which centred values spread most: float64 [neurons, components]."""
    samples, neurons = values.shape
    if samples < neurons:
        _, spread, rows = np.linalg.svd(values, full_matrices=False)
        directions = rows.T
    else:
        # Five times faster than the decomposition of all samples; the square of the smallest
        # spread that counts, 1e-12 of the largest, is well within double precision.
        squares, columns = np.linalg.eigh(values.T @ values)
        spread, directions = np.sqrt(np.maximum(squares[::-1], 0)), columns[:, ::-1]
    used = min(_MOST_COMPONENTS, int((spread > spread[0] * 1e-6).sum()))
    return np.asarray(directions[:, :used], dtype=np.float64)
