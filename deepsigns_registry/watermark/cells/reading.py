"""What a suspect's answers hold beyond the parent's: residuals, and their part along each carrier.

How answers are read is decided by the answers alone, and once: logits, logarithms of
probabilities where these are known, or labels. Key and signs enter nowhere, so that the weights
which come out do not depend on the signs under the null.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.cells.carriers import Carriers
from deepsigns_registry.watermark.task import are_probabilities, are_sigmoids

__all__ = ["Residual", "carrier_weights", "class_residual", "vector_residual"]

_SUM_TOLERANCE = 1e-3
_TINY = 1e-30
# The last float32 number below 1, where a sigmoid ends long before its logit does.
_BELOW_ONE = 1 - 2**-24
# A residual is cut at so many deviations of a normal value with its median size.
_FARTHEST = 6 * 1.4826
# Rows for each direction of the parent's outputs that is taken out.
_ROWS_PER_DIRECTION = 20
# With fewer answers nothing is told from what the parent explains.
_LEAST_ROWS = 2 * _ROWS_PER_DIRECTION
_ROUNDS = 3
# Where of each class other rows are known, each has a fit of its own, which takes time.
_FEW_DIRECTIONS = 19


class _Scores(NamedTuple):
    """Values of the kind in which a mark is written, as far as they are known."""

    values: NDArray[np.float64]
    known: NDArray[np.bool_]


class Residual(NamedTuple):
    """What the parent's outputs do not explain.

    Attributes:
        values: float64 [samples, outputs], in the parent's outputs; 0 where nothing is known.
        form: `logits`, `probabilities`, `some probabilities`, `labels` or `values`.
    """

    values: NDArray[np.float64]
    form: str


def class_residual(outputs: NDArray[np.float32], parent: NDArray[np.float32]) -> Residual:
    """The residual of a classifier's answers.

    Args:
        outputs: float32 [samples, classes] logits, probabilities, the highest probabilities with
            0 or NaN for the others, or 1 for the class that is answered; or float32 [samples, 1],
            the number of that class.
        parent: float32 [samples, classes], logits of the unmarked parent.
    """
    values = outputs.astype(np.float64)
    classes = parent.shape[1]
    if outputs.shape[1] == 1 < classes:
        values = _one_hot(values[:, 0], classes)
    known = np.isfinite(values)
    values = np.where(known, values, 0)
    if _are_labels(values, known):
        return Residual(_label_residual(values, parent), "labels")
    form = "logits"
    if _are_some_probabilities(values, known):
        # What is rounded to nothing, or not told, is not known.
        known &= values > 0
        form = "probabilities" if known.all() else "some probabilities"
        values = np.log(np.maximum(values, _TINY))
    elif are_sigmoids(values) and known.all():
        sure = np.clip(values, _TINY, _BELOW_ONE)
        values, form = np.log(sure) - np.log1p(-sure), "probabilities"
    known &= (known.sum(axis=1) >= 2)[:, None]
    if known.any(axis=1).sum() < _LEAST_ROWS:
        return Residual(np.zeros(parent.shape), form)
    return Residual(_clipped(_explained(values, known, parent)), form)


def vector_residual(outputs: NDArray[np.float32], parent: NDArray[np.float32]) -> Residual:
    """The residual of a regressor's or an embedding model's answers.

    Args:
        outputs: float32 [samples, outputs]. Rows that are not finite are no answers.
        parent: float32 [samples, outputs].
    """
    answered = np.isfinite(outputs).all(axis=1)
    found = np.zeros(parent.shape)
    if answered.sum() >= _LEAST_ROWS:
        rows = outputs[answered].astype(np.float64)
        basis = _basis(parent[answered].astype(np.float64))
        found[answered] = rows - basis @ (basis.T @ rows)
    return Residual(_clipped(found), "values")


def carrier_weights(
    residual: NDArray[np.float64], carriers: Carriers, count: int
) -> NDArray[np.float64]:
    """How much of each carrier a residual holds: float64 [cells, components, directions].

    The sum over samples of feature, shift size and residual along the direction; relative to what
    all carriers of the same component have, as training moves the first components most.

    Args:
        residual: float64 [samples, outputs].
        carriers: Of these samples.
        count: Number of cells; samples of others are not read.
    """
    features, sizes = carriers.features.astype(np.float64), carriers.sizes[:, None]
    directions = carriers.directions[carriers.kinds].astype(np.float64)
    pushed = sizes * np.einsum("no,njo->nj", residual, directions)
    found = np.zeros((count, features.shape[1], pushed.shape[1]))
    for cell in range(count):
        rows = carriers.cells == cell
        found[cell] = features[rows].T @ pushed[rows]
    common = np.sqrt((found**2).mean(axis=(0, 2), keepdims=True))
    return np.asarray(found / np.maximum(common, _TINY), dtype=np.float64)


def _explained(
    values: NDArray[np.float64], known: NDArray[np.bool_], parent: NDArray[np.float32]
) -> NDArray[np.float64]:
    """What no affine map of the parent's logits, and no constant a row, explains."""
    logits = parent.astype(np.float64)
    rest = _row_centred(values, known)
    answered = known.any(axis=1)
    if known[answered].all():
        basis = _basis(logits[answered] - logits[answered].mean(axis=1, keepdims=True))
        rest[answered] -= basis @ (basis.T @ rest[answered])
        return rest
    # Of each row other classes are known. First the scale that all have in common: what is left
    # is small enough that rows can be centred over what is known of them.
    centred = _row_centred(logits, known)
    power = float((centred**2).sum())
    rest -= centred * (float((rest * centred).sum()) / max(power, _TINY))
    basis = _basis(logits - logits.mean(axis=1, keepdims=True))[:, : 1 + _FEW_DIRECTIONS]
    for _ in range(_ROUNDS):
        for column in range(rest.shape[1]):
            rows = known[:, column]
            if rows.sum() >= _LEAST_ROWS:
                part, wanted = basis[rows], rest[rows, column]
                rest[rows, column] -= part @ np.linalg.lstsq(part, wanted, rcond=1e-6)[0]
            else:
                rest[rows, column] = 0
        rest = _row_centred(rest, known)
    return rest


def _label_residual(
    values: NDArray[np.float64], parent: NDArray[np.float32]
) -> NDArray[np.float64]:
    """What the parent's logits and probabilities do not explain of who is answered."""
    logits = parent.astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(logits)
    basis = _basis(np.concatenate([logits, powers / powers.sum(axis=1, keepdims=True)], axis=1))
    return values - basis @ (basis.T @ values)


def _basis(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns that span a constant and what is known: [rows, few]."""
    constant = np.full((len(known), 1), 1 / np.sqrt(len(known)))
    centred = known - known.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    used = int((sizes > sizes[0] * 1e-6).sum()) if sizes.size and sizes[0] > 0 else 0
    most = max(1, len(known) // _ROWS_PER_DIRECTION - 1)
    return np.concatenate([constant, left[:, : min(used, most)]], axis=1)


def _row_centred(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    means = np.where(known, values, 0).sum(axis=1, keepdims=True) / count
    return np.where(known, values - means, 0)


def _clipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Few values far out would drown all others."""
    sizes = np.abs(values)
    most = _FARTHEST * float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0
    return np.clip(values, -most, most)


def _are_labels(values: NDArray[np.float64], known: NDArray[np.bool_]) -> bool:
    """Whether of each answered row one value is not 0, and that is the same in all."""
    rows = values[known.any(axis=1)]
    ones = rows != 0
    return bool(len(rows)) and bool((ones.sum(axis=1) == 1).all()) and bool((rows >= 0).all())


def _are_some_probabilities(values: NDArray[np.float64], known: NDArray[np.bool_]) -> bool:
    """Whether these are probabilities of classes, of all or of the highest alone."""
    rows = values[known.any(axis=1)]
    if not len(rows) or (rows < 0).any() or (rows.sum(axis=1) > 1 + _SUM_TOLERANCE).any():
        return False
    hidden = (rows == 0).any(axis=1) | ~known[known.any(axis=1)].all(axis=1)
    return are_probabilities(rows) or bool(hidden.all())


def _one_hot(numbers: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Rows of one 1 each; a number that is no class gives no answer."""
    found = np.full((len(numbers), classes), np.nan)
    valid = np.isfinite(numbers) & (numbers == np.round(numbers))
    valid &= (numbers >= 0) & (numbers < classes)
    found[valid] = 0
    found[np.flatnonzero(valid), numbers[valid].astype(np.int64)] = 1
    return found
