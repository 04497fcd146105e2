"""A Gaussian mixture fitted to activations, the same for everybody who fits it again.

DeepSigns (section 4.1) models the activations of a hidden layer as such a mixture. Nothing here
is drawn: who does not believe an owner fits the same parent's activations and must find the same
components, up to samples that lie between two of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mixture"]

_MOST_AXES = 16
_ROUNDS = 50
_RIDGE = 1e-3


@dataclass(frozen=True)
class Mixture:
    """Components with one diagonal covariance for all, in the principal axes of the activations.

    Attributes:
        mean: float64 [neurons].
        axes: float64 [neurons, axes].
        centres: float64 [components, axes].
        variances: float64 [axes].
        log_weights: float64 [components].
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    centres: NDArray[np.float64]
    variances: NDArray[np.float64]
    log_weights: NDArray[np.float64]

    @classmethod
    def fit(cls, activation: NDArray[np.float32], components: int) -> "Mixture":
        """Fits by expectation and maximisation, from divided principal directions.

        The components start as the parts of a division in two along the first principal
        direction, again and again of the part that is spread most (Boley 1998).

        Args:
            activation: float32 [samples, neurons].
            components: How many, at least 1.
        """
        values = activation.astype(np.float64)
        mean = values.mean(axis=0)
        axes = _principal_axes(values - mean)
        reduced = (values - mean) @ axes
        parts = _divided(reduced, components)
        shares = np.eye(components)[parts]
        for _ in range(_ROUNDS):
            fitted = cls(mean, axes, *_maximised(reduced, shares))
            logs = fitted._log_shares(reduced)
            shares = np.exp(logs - logs.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
        return fitted

    def log_shares(self, activation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logarithm of each component's share in the density of a sample.

        Args:
            activation: float32 [samples, neurons].

        Returns:
            float64 [samples, components], up to a constant of the sample.
        """
        return self._log_shares((activation.astype(np.float64) - self.mean) @ self.axes)

    def _log_shares(self, reduced: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled, centres = (rows / np.sqrt(self.variances) for rows in (reduced, self.centres))
        # The square of the sample itself is the same for every component.
        products = scaled @ centres.T - (centres**2).sum(axis=1) / 2
        return np.asarray(self.log_weights + products, dtype=np.float64)


def _principal_axes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions of the largest spread of centred values: float64 [neurons, axes]."""
    squares, columns = np.linalg.eigh(values.T @ values)
    squares, columns = squares[::-1][:_MOST_AXES], columns[:, ::-1][:, :_MOST_AXES]
    return _signed(columns[:, squares > squares[0] * 1e-9])


def _signed(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions with their largest entry positive, whatever sign a library gave them."""
    largest = np.abs(columns).argmax(axis=0)
    signs: NDArray[np.float64] = np.sign(columns[largest, np.arange(columns.shape[1])])
    return columns * signs


def _divided(values: NDArray[np.float64], components: int) -> NDArray[np.int64]:
    """The part of each sample: int64 [samples], from 0 to components - 1."""
    parts = np.zeros(len(values), dtype=np.int64)
    for part in range(1, components):
        spreads = [_spread(values[parts == earlier]) for earlier in range(part)]
        rows = np.flatnonzero(parts == int(np.argmax(spreads)))
        inside = values[rows] - values[rows].mean(axis=0)
        direction = _signed(np.linalg.eigh(inside.T @ inside)[1][:, -1:])[:, 0]
        parts[rows[inside @ direction > 0]] = part
    return parts


def _spread(rows: NDArray[np.float64]) -> float:
    """Sum of squared distances from the mean; of an empty part 0."""
    return float(((rows - rows.mean(axis=0)) ** 2).sum()) if len(rows) else 0.0


def _maximised(
    reduced: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres, variances and log weights that fit best to each sample's shares."""
    counts = shares.sum(axis=0) + np.finfo(np.float64).tiny
    centres = shares.T @ reduced / counts[:, None]
    total = (reduced**2).mean(axis=0)
    within = total - (counts / len(reduced)) @ centres**2
    # A direction without any spread inside the components would divide by zero.
    variances = np.maximum(within, 0) + _RIDGE * total.mean()
    return centres, variances, np.log(counts / counts.sum())
