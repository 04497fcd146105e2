"""Version 1, section 8: the patterns of `spread`, and how a weight is compared with one."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.golden.reference.keys import DOMAIN, encoded, purpose, sha256
from tests.golden.reference.stream import Bytes

Matrix = tuple[str, int, int, int, bool]


def matrix_list(matrices: Sequence[Matrix]) -> str:
    described = (repr(matrix).encode() for matrix in matrices)
    return sha256(encoded(DOMAIN, b"matrices", encoded(*described))).hex()


def pattern_key(key: bytes, blueprint: bytes) -> bytes:
    return sha256(encoded(DOMAIN, b"patterns", purpose(key, "patterns"), blueprint))


def pattern(drawn: bytes, matrices: Sequence[Matrix], index: int) -> list[list[float]]:
    _, _, rows, columns, _ = matrices[index]
    stream = Bytes(drawn, f"pattern {index} of {matrix_list(matrices)}")
    return stream.gaussians(rows, columns)


def even(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    w = weight.astype(float)
    if not np.isfinite(w).all():
        return np.zeros_like(w)
    for _ in range(5):
        w = _columns_of_one_length(w)
        w = _columns_of_one_length(w.T).T
    if min(w.shape) > 2048:
        return w.astype(np.float32).astype(float)
    # By singular values, where the page has eigenvalues of a product: the same directions.
    left, lengths, right = np.linalg.svd(w, full_matrices=False)
    live = lengths > 1e-12 * lengths.max(initial=0)
    if live.any():
        lengths[live] = np.minimum(lengths[live], np.median(lengths[live]))
    product: NDArray[np.float64] = (left * lengths) @ right
    return product.astype(np.float32).astype(float)


def _columns_of_one_length(w: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.zeros_like(w)
    for column in range(w.shape[1]):
        size = math.sqrt(math.fsum(w[:, column] ** 2) / len(w))
        if size > 1e-12:
            found[:, column] = w[:, column] / size
    return found


def deviation(weight: NDArray[np.float32], drawn: Sequence[Sequence[float]]) -> float | None:
    """In standard deviations; None where there is nothing to compare."""
    e = even(weight)
    length = math.sqrt(math.fsum((e * e).ravel()))
    return math.fsum((e * np.array(drawn)).ravel()) / length if length > 0 else None


def together(deviations: Sequence[float | None]) -> tuple[float, int]:
    """D and the number of parts."""
    read = [value for value in deviations if value is not None]
    return math.sqrt(math.fsum(max(0.0, value) ** 2 for value in read)), len(read)
