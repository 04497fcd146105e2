"""The data beside the input example of the version: the same rows, on the same scale, in order?

An example may be a few rows of the data, rows of another sample of it, or numbers that somebody
made up. Only the first is told for certain, so an example alone refuses nothing.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.rows import row_digests, row_size

__all__ = ["Affine", "Comparison", "compare", "looks_made_up", "oddity"]

_ROWS = 8
_CHUNK = 4096
# Rows of fewer features, or of fewer values, agree by chance.
_FEATURES, _VALUES = 8, 6
_SAME_LINE = 1e-6
_CLIPPED = 10.0
_MADE_UP = 1e-3
# So many rows in one and the same other form are no accident, nor one augmented sample.
_PROVEN = 2
# What rounding and other makers of the same numbers change.
_NO_CHANGE = 0.01


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
        matched: How many rows of it stand there on another scale, or in another order.
        order: int64 [features], which column of the data is each column of the example, where
            rows of it stand in the data in another order; None where none does.
        chance: Chance that rows of one distribution with the data are all so odd in it.
        made_up: The numbers look like a generator's, and say nothing about the data.
        constant: How many features are the same in all of the data, and differ in the example.
        partly: Rows of the example stand in the data but for those features.
        size: How many times as large as the example's the values of the data are.
    """

    rows: int
    found: int
    affine: Affine | None = None
    order: NDArray[np.int64] | None = None
    matched: int = 0
    chance: float = 1.0
    made_up: bool = True
    constant: int = 0
    partly: bool = False
    size: float = 1.0

    @property
    def proven(self) -> bool:
        """Whether several rows of the example stand in the data in one and the same other form."""
        return self.matched >= _PROVEN

    @property
    def differs(self) -> bool:
        """Whether the example is known to be of other data, or of the same in another form."""
        odd = self.chance <= 1e-6 and not self.made_up
        return not self.found and (
            self.affine is not None or self.order is not None or self.partly or odd
        )


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
    affine, order, matched = None, None, 0
    if len(telling) and data.shape[1] >= _FEATURES:
        affine, matched = _affine(telling, data)
        order, moved = _order(telling, data)
        matched = max(matched, moved)
    still = data.min(axis=0) == data.max(axis=0)
    constant = int((still & (rows != data[0]).any(axis=0)).sum())
    kept = telling[:, ~still]
    kept = kept[[len(np.unique(row)) >= _VALUES for row in kept]] if kept.size else kept[:0]
    partly = constant > 0 and len(kept) > 0
    partly = partly and bool(np.isin(row_digests(kept), row_digests(data[:, ~still])).any())
    return Comparison(
        len(rows),
        0,
        affine,
        order,
        matched,
        oddity(rows, data),
        looks_made_up(rows),
        constant,
        partly,
        row_size(data) / max(row_size(rows), 1e-30),
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

    Examples:
        >>> looks_made_up(np.zeros((2, 30), np.float32))
        True
    """
    from scipy.stats import kstest

    values = rows.ravel().astype(np.float64)
    low, high, spread = values.min(), values.max(), values.std()
    if spread == 0:
        return True
    normal = kstest((values - values.mean()) / spread, "norm").pvalue
    uniform = kstest((values - low) / (high - low), "uniform").pvalue
    return bool(max(normal, uniform) > _MADE_UP)


def _affine(rows: NDArray[np.float32], data: NDArray[np.float32]) -> tuple[Affine | None, int]:
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
        return None, 0
    factors, offsets = np.array(list(found.values())).T
    factor, offset = float(np.median(factors)), float(np.median(offsets))
    small = abs(offset) < _NO_CHANGE * float(rows.std())
    if not np.allclose(factors, factor, rtol=1e-3) or (small and abs(factor - 1) < _NO_CHANGE):
        return None, 0
    return Affine(factor, offset), len(found)


def _order(
    rows: NDArray[np.float32], data: NDArray[np.float32]
) -> tuple[NDArray[np.int64] | None, int]:
    """Where the example's columns are in the data, by rows that hold the same values."""
    theirs = row_digests(np.sort(data, axis=1))
    where = [np.flatnonzero(theirs == one) for one in row_digests(np.sort(rows, axis=1))]
    pairs = [(row, found[0]) for row, found in enumerate(where) if len(found)]
    if not pairs:
        return None, 0
    mine, other = (list(places) for places in zip(*pairs, strict=True))
    order = np.empty(rows.shape[1], dtype=np.int64)
    order[np.lexsort(rows[mine])] = np.lexsort(data[other])
    agree = (data[other][:, order] == rows[mine]).all()
    return (order, len(pairs)) if agree else (None, 0)


def _log_choose(total: int, part: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(part + 1) - math.lgamma(total - part + 1)
