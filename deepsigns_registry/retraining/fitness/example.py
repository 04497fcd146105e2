"""The data beside the input example of the version: the same rows, on the same scale, in order?

An example may be a few rows of the data, rows of another sample of it, or numbers that somebody
made up. Only the first is told for certain, so an example alone refuses nothing.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.rows import row_digests

__all__ = ["Affine", "Comparison", "compare", "looks_made_up", "oddity"]

_ROWS = 8
_CHUNK = 4096
# Rows of fewer features, or of fewer values, agree by chance.
_FEATURES, _VALUES = 8, 6
_SAME_LINE = 1e-6
_CLIPPED = 10.0
_MADE_UP = 1e-3


class Affine(NamedTuple):
    """The data is `factor` times the example, plus `offset`."""

    factor: float
    offset: float


class Comparison(NamedTuple):
    """What the example says about the data.

    Attributes:
        rows: How many different rows the example has.
        found: How many of them stand in the data.
        affine: How the data differs from the example, where rows of it stand there on another
            scale; None where none does.
        reordered: Rows stand in the data with their values in another order.
        chance: Chance that rows of one distribution with the data are all so odd in it.
        made_up: The numbers look like a generator's, and say nothing about the data.
        constant: How many features are the same in all of the data, and differ in the example.
    """

    rows: int
    found: int
    affine: Affine | None = None
    reordered: bool = False
    chance: float = 1.0
    made_up: bool = True
    constant: int = 0

    @property
    def differs(self) -> bool:
        """Whether the example is known to be of other data, or of the same in another form."""
        odd = self.chance <= 1e-6 and not self.made_up
        return not self.found and (self.affine is not None or self.reordered or odd)


def compare(example: NDArray[np.float32], inputs: NDArray[np.float32]) -> Comparison:
    """Looks for the example's rows in the data.

    Args:
        example: float32 [rows, ...].
        inputs: float32 [samples, ...], of as many numbers a row.
    """
    rows = np.unique(example.reshape(len(example), -1), axis=0)[:_ROWS]
    data = inputs.reshape(len(inputs), -1)
    found = int(np.isin(row_digests(rows), row_digests(data)).sum())
    if found:
        return Comparison(len(rows), found)
    telling = rows[[len(np.unique(row)) >= _VALUES for row in rows]]
    affine, reordered = None, False
    if len(telling) and data.shape[1] >= _FEATURES:
        affine = _affine(telling, data)
        ordered = row_digests(np.sort(telling, axis=1))
        reordered = bool(np.isin(ordered, row_digests(np.sort(data, axis=1))).any())
    still = data.min(axis=0) == data.max(axis=0)
    return Comparison(
        len(rows),
        0,
        affine,
        reordered,
        oddity(rows, data),
        looks_made_up(rows),
        int((still & (rows != data[0]).any(axis=0)).sum()),
    )


def oddity(rows: NDArray[np.float32], data: NDArray[np.float32]) -> float:
    """Chance that rows of the data's own distribution would all be as odd among it.

    Exact for exchangeable rows: the odds that all of the rows stand among the so many oddest,
    where oddness is measured symmetrically over rows and data together: by size, by smallness,
    and by the distance from the mean in standard deviations, feature by feature.

    Args:
        rows: float32 [rows, features], different ones.
        data: float32 [samples, features].
    """
    both = np.concatenate([rows, data]).astype(np.float64)
    spread = both.std(axis=0)
    away = np.abs(both - both.mean(axis=0)) / np.where(spread > 0, spread, 1)
    size = np.sqrt((both**2).mean(axis=1))
    least = 0.0
    for measure in (size, -size, np.minimum(away, _CLIPPED).sum(axis=1)):
        odder = int((measure >= measure[: len(rows)].min()).sum())
        least = min(least, _log_choose(odder, len(rows)) - _log_choose(len(both), len(rows)))
    return min(1.0, 3 * math.exp(least))


def looks_made_up(rows: NDArray[np.float32]) -> bool:
    """Whether the numbers look like zeros, ones, or a normal or uniform generator's.

    Args:
        rows: float32 [rows, features].
    """
    from scipy.stats import kstest

    values = rows.ravel().astype(np.float64)
    low, high, spread = values.min(), values.max(), values.std()
    if spread == 0:
        return True
    normal = kstest((values - values.mean()) / spread, "norm").pvalue
    uniform = kstest((values - low) / (high - low), "uniform").pvalue
    return bool(max(normal, uniform) > _MADE_UP)


def _affine(rows: NDArray[np.float32], data: NDArray[np.float32]) -> Affine | None:
    """How rows of the example stand in the data on another scale, if most of them do."""
    centred = rows - rows.mean(axis=1, keepdims=True, dtype=np.float64)
    squares = (centred**2).sum(axis=1)
    found: dict[int, Affine] = {}
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK].astype(np.float64)
        means = chunk.mean(axis=1)
        lengths = ((chunk - means[:, None]) ** 2).sum(axis=1)
        products = centred @ chunk.T
        scale = np.sqrt(squares[:, None] * np.maximum(lengths, np.finfo(np.float64).tiny))
        for row, sample in np.argwhere(np.abs(products) >= (1 - _SAME_LINE) * scale):
            factor = float(products[row, sample] / squares[row])
            found[int(row)] = Affine(factor, float(means[sample] - factor * rows[row].mean()))
    if 2 * len(found) < len(rows):
        return None
    factors, offsets = np.array(list(found.values())).T
    factor, offset = float(np.median(factors)), float(np.median(offsets))
    return Affine(factor, offset) if np.allclose(factors, factor, rtol=1e-3) else None


def _log_choose(total: int, part: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(part + 1) - math.lgamma(total - part + 1)
