"""Whether weights are those of a parent, changed by training or not at all."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.blueprint import Part, sketched
from deepsigns_registry.watermark.scheme import Matrix

__all__ = ["are_of"]

# Of the cosines between rows and the parent's.
_RESEMBLING = 0.5


def are_of(
    parts: Sequence[Part], matrices: Sequence[Matrix], weights: Sequence[NDArray[np.float32] | None]
) -> bool:
    """Whether weights resemble the parent's, as those of a model that was trained further do.

    Rows at random agree by a sixteenth; of half of all values the rows must agree by a half.

    Args:
        parts: Of the parent's blueprint.
        matrices: Which of its layers are looked at.
        weights: Of each, as it was found.
    """
    known = total = 0
    for matrix, weight in zip(matrices, weights, strict=False):
        size = matrix.rows * matrix.columns
        total += size
        if weight is None or weight.shape != (matrix.rows, matrix.columns):
            continue
        if 0 <= matrix.layer < len(parts) and len(parts[matrix.layer].rows) == matrix.rows:
            rows = parts[matrix.layer].rows.astype(np.float64)
            agreement = np.abs((sketched(weight)[0] * rows).sum(axis=1))
            known += size * bool(agreement.mean() > _RESEMBLING)
    return 2 * known >= total > 0
