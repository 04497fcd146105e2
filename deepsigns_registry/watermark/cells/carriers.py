"""What `cells` writes on: smooth features of a sample, directions of the outputs, and how far.

A cell is the samples of one class that the parent predicts; of a model without classes, those of
one group of the manifest. Inside a cell the features are the whitened principal components of the
parent's activation at the tap. The directions of a class are Hadamard's contrasts of other classes
than the predicted one: about their order the task cares little.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.scheme import SchemeSecret

__all__ = [
    "MOST_CELLS",
    "Carriers",
    "Whitening",
    "carriers_of",
    "cells_of",
    "contrasted_classes",
    "contrasts",
    "secret_directions",
    "shift_sizes",
]

MOST_CELLS = 16
"""Of more classes several share the features and the signs of one cell."""
_MOST_CONTRASTED = 8
_MOST_DIRECTIONS = 7
# Rare samples far out would carry most of a sum, and take the outputs far with them.
_FARTHEST = 3.0
# A component that varies less than this share of the first is rounding.
_LEAST_VARIANCE = 1e-4
_LEAST_ROWS_PER_COMPONENT = 4
# What another processor's sums may move in what is chosen by size.
_DOUBTFUL = 1e-2
_TINY = 1e-30
# Of the distance from the predicted class to the first of those that move, where a secret says
# nothing else.
_GAP_SHARE = 0.5
# What one unit of the margin is where outputs are no logits, in deviations of the parent's.
_SPREAD_PER_MARGIN = 0.015


class Carriers(NamedTuple):
    """Where some samples stand, and how their outputs may move.

    Attributes:
        features: float32 [samples, components].
        outputs: float32 [samples, outputs], the parent's.
        directions: float32 [kinds, directions, outputs].
        kinds: int64 [samples], which of the directions are a sample's.
        cells: int64 [samples].
        sizes: float32 [samples], how far the outputs move along each direction.
    """

    features: NDArray[np.float32]
    outputs: NDArray[np.float32]
    directions: NDArray[np.float32]
    kinds: NDArray[np.int64]
    cells: NDArray[np.int64]
    sizes: NDArray[np.float32]


def carriers_of(secret: SchemeSecret, part: str) -> Carriers:
    """What a secret of `cells` holds of its `probe` or of its `pool` samples.

    In the types in which the signs' choice hashes them, whatever a claimant gave.
    """
    arrays = secret.arrays
    features = arrays[f"{part}_features"].astype(np.float32, copy=False)
    outputs = arrays[f"{part}_outputs"].astype(np.float32, copy=False)
    margin, samples = float(str(secret.meta["margin"])), len(outputs)
    if secret.meta["task"] == "classification":
        kinds = outputs.argmax(axis=1).astype(np.int64)
        directions = contrasts(arrays["contrasted"].astype(np.int64), outputs.shape[1])
        share = float(str(secret.meta.get("gap_share", _GAP_SHARE)))
        sizes = shift_sizes(outputs, directions, margin, share)
        return Carriers(features, outputs, directions, kinds, cells_of(kinds), sizes)
    directions = secret_directions(arrays["direction_key"].tobytes(), outputs.shape[1])[None]
    return Carriers(
        features,
        outputs,
        directions,
        kinds=np.zeros(samples, dtype=np.int64),
        cells=cells_of(arrays[f"{part}_groups"].astype(np.int64)),
        sizes=np.full(samples, margin * _SPREAD_PER_MARGIN, dtype=np.float32),
    )


def cells_of(kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cell of each sample, from its predicted class or group: int64 [samples].

    Examples:
        >>> cells_of(np.array([0, 9, 16, 35])).tolist()
        [0, 9, 0, 3]
    """
    return kinds % MOST_CELLS


@dataclass(frozen=True)
class Whitening:
    """The map from an activation to smooth features, one a cell.

    Attributes:
        means: float32 [cells, neurons].
        maps: float32 [cells, neurons, components]; zero for a cell of too few samples.
    """

    means: NDArray[np.float32]
    maps: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        activation: NDArray[np.float32],
        cells: NDArray[np.int64],
        components: int,
        *,
        given: "Whitening | None" = None,
    ) -> "Whitening":
        """Principal components within each cell, each of variance 1.

        Args:
            activation: float32 [samples, neurons].
            cells: int64 [samples].
            components: How many.
            given: A fit on another processor; it is kept for each cell where it is one of the
                same activations, as components of nearly the same variance may turn.
        """
        count, neurons = int(cells.max()) + 1, activation.shape[1]
        components = min(components, neurons)
        means = np.zeros((count, neurons), dtype=np.float32)
        maps = np.zeros((count, neurons, components), dtype=np.float32)
        known = given is not None and (given.means.shape, given.maps.shape) == (
            means.shape,
            maps.shape,
        )
        for cell in range(count):
            rows = activation[cells == cell].astype(np.float64)
            if len(rows) < _LEAST_ROWS_PER_COMPONENT * components:
                continue
            mean = rows.mean(axis=0)
            covariance = (rows - mean).T @ (rows - mean) / len(rows)
            values, vectors = np.linalg.eigh(covariance)
            values, vectors = values[::-1][:components], vectors[:, ::-1][:, :components]
            used = values > max(_LEAST_VARIANCE * values[0], _TINY)
            means[cell] = mean
            maps[cell] = vectors * np.where(used, 1 / np.sqrt(np.maximum(values, _TINY)), 0)
            if known and given is not None and _whitens(given.maps[cell], covariance, values, used):
                means[cell], maps[cell] = given.means[cell], given.maps[cell]
        return cls(means, maps)

    def features(
        self, activation: NDArray[np.float32], cells: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The features of samples: float32 [samples, components], in [-3, 3].

        Args:
            activation: float32 [samples, neurons].
            cells: int64 [samples]; those of a cell that was not fitted have features 0.
        """
        found = np.zeros((len(activation), self.maps.shape[2]), dtype=np.float32)
        for cell, (mean, linear) in enumerate(zip(self.means, self.maps, strict=True)):
            rows = cells == cell
            found[rows] = (activation[rows] - mean) @ linear
        return np.clip(found, -_FARTHEST, _FARTHEST)


def _whitens(
    linear: NDArray[np.float32],
    covariance: NDArray[np.float64],
    values: NDArray[np.float64],
    used: NDArray[np.bool_],
) -> bool:
    """Whether columns are principal components of this covariance, up to what rounding does."""
    columns = linear[:, used].astype(np.float64)
    if linear[:, ~used].any() or not np.isfinite(columns).all():
        return False
    white = columns.T @ covariance @ columns
    # Each is as long as a component of its variance is, so that together they hold all of it.
    held = 1 / np.maximum((columns**2).sum(axis=0), _TINY)
    return np.allclose(white, np.eye(len(white)), atol=_DOUBTFUL) and np.allclose(
        held, values[used], rtol=_DOUBTFUL
    )


def contrasted_classes(
    outputs: NDArray[np.float32], *, given: NDArray[np.generic] | None = None
) -> NDArray[np.int64]:
    """The classes that stand highest where another is predicted: int64 [classes, some].

    As many as the largest power of two below the number of classes, from 2 to 8. Of two classes
    both are taken.

    Args:
        outputs: float32 [samples, classes], logits of the parent; at least two classes.
        given: A choice on another processor, taken where it differs by rounding alone.

    Examples:
        >>> contrasted_classes(np.array([[9, 1, 3, 2], [0, 9, 1, 2]], dtype=np.float32)).tolist()
        [[2, 3], [3, 2], [0, 1], [0, 1]]
    """
    classes = outputs.shape[1]
    width = 2
    while 2 * width <= min(classes - 1, _MOST_CONTRASTED):
        width *= 2
    predicted = outputs.argmax(axis=1)
    found = np.tile(np.arange(width, dtype=np.int64), (classes, 1))
    same = given is not None and given.shape == found.shape and given.dtype == found.dtype
    for kind in range(classes):
        members = outputs[predicted == kind].astype(np.float64)
        if len(members):
            means = members.mean(axis=0)
            if classes > 2:
                means[kind] = -np.inf
            found[kind] = np.argsort(-means, kind="stable")[:width]
            if same and given is not None and _are_highest(given[kind].astype(np.int64), means):
                found[kind] = given[kind]
    return found


def _are_highest(chosen: NDArray[np.int64], means: NDArray[np.float64]) -> bool:
    if len(set(chosen.tolist())) < len(chosen) or chosen.min() < 0 or chosen.max() >= len(means):
        return False
    return np.allclose(means[chosen], -np.sort(-means)[: len(chosen)], atol=_DOUBTFUL)


def contrasts(chosen: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Directions of the logits in which only these classes move, against one another.

    Args:
        chosen: int64 [kinds, width] as `contrasted_classes` gives them.
        classes: How many the model has.

    Returns:
        float32 [kinds, width - 1, classes]; orthogonal rows of length 1 that sum to 0.

    Examples:
        >>> np.sign(contrasts(np.array([[1, 2]]), 3)).tolist()
        [[[0.0, 1.0, -1.0]]]
    """
    width = chosen.shape[1]
    matrix = np.ones((1, 1))
    while len(matrix) < width:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    found = np.zeros((len(chosen), width - 1, classes), dtype=np.float32)
    for kind, members in enumerate(chosen):
        found[kind][:, members] = matrix[1:] / np.sqrt(width)
    return found


def secret_directions(key: bytes, outputs: int) -> NDArray[np.float32]:
    """Directions of a vector that the key draws; of one number there is up and down.

    Args:
        key: 32 bytes.
        outputs: Components of the vector.

    Returns:
        float32 [at most 7, outputs], orthogonal and of length 1.

    Examples:
        >>> secret_directions(bytes(32), 1).tolist()
        [[1.0]]
    """
    if outputs == 1:
        return np.ones((1, 1), dtype=np.float32)
    drawn = Stream(key, "directions").gaussians((min(_MOST_DIRECTIONS, outputs), outputs))
    # Gram and Schmidt in this order: numpy's own decomposition may choose other signs.
    found: list[NDArray[np.float64]] = []
    for row in drawn.astype(np.float64):
        rest = row - sum((row @ other) * other for other in found)
        found.append(rest / np.linalg.norm(rest))
    return np.array(found, dtype=np.float32)


def shift_sizes(
    outputs: NDArray[np.float32], directions: NDArray[np.float32], margin: float, share: float
) -> NDArray[np.float32]:
    """How far the logits of each sample may move along each direction: float32 [samples].

    Args:
        outputs: float32 [samples, classes], logits of the parent.
        directions: float32 [classes, directions, classes].
        margin: At most this far, in standard deviations over samples.
        share: Of the distance from the predicted class to the next one that moves, at most.

    Examples:
        >>> outputs = np.array([[9, 1, 2], [9, 8, 2]], dtype=np.float32)
        >>> shift_sizes(outputs, contrasts(np.array([[1, 2]] * 3), 3), 2.0, 0.5).tolist()
        [2.0, 0.5]
    """
    predicted = outputs.argmax(axis=1)
    moved = (directions != 0).any(axis=1)[predicted]
    moved[np.arange(len(outputs)), predicted] = False
    next_one = np.where(moved, outputs, -np.inf).max(axis=1)
    gaps = np.maximum(outputs.max(axis=1) - next_one, 0)
    return np.asarray(np.minimum(margin, share * gaps), dtype=np.float32)
