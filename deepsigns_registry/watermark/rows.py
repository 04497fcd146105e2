"""Whether the rows of a suspect's layer are those of the parent, moved about as they may be.

That each row of the parent's has one near it among the suspect's says little: where inputs are few,
or networks learn the same, every row has. But of a copy the nearest stands out: it is nearer by far
than the second nearest. By how much the nearest stands out by chance is asked of the rows at hand,
in two ways. The neurons of a sibling are drawn as the parent's own are: so among the suspect's rows
the nearest stands out no more than among the parent's other rows. Where a network's own rows keep
apart, as those of an orthogonal start do, they would say too little: so the nearest must stand out
more, too, than when the suspect's rows are mirrored at random along the principal axes, which keeps
their spread and their distances from each other. Each is a test by ranks over the parent's rows
(Wilcoxon 1945).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.expand import Stream

__all__ = ["ROWS_FALSE_ACCEPTANCE", "rows_stand_out"]

Floats = NDArray[np.float32]

ROWS_FALSE_ACCEPTANCE = 1e-3
"""Highest probability that unrelated rows are taken for the parent's, of neurons drawn alike."""

# Of more rows of the parent's so many are compared, evenly spread: far more than the test needs.
_MOST_ROWS = 256
_MIRRORED = 31
# A nearest and a second nearest, without the row itself.
_FEWEST = 3
# Nearer than this, in 1 - cosine, is the same up to the rounding of a blueprint.
_SAME = 1e-4
# A direction with a smaller share of the largest's squares is none.
_NO_DIRECTION = 1e-9


def rows_stand_out(pairs: Sequence[tuple[Floats, Floats]]) -> bool:
    """Compares a suspect's rows with the parent's.

    Args:
        pairs: For each group of channels the parent's rows and the suspect's, float32
            [rows, columns] with equal columns; their directions count. A row of the suspect's that
            is a copy of another one is left out.

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(3, 64, 16))
        >>> rows_stand_out([(rows[0], rows[0][::-1])]), rows_stand_out([(rows[0], rows[1])])
        (True, False)
    """
    leads, beside, mirrored = [], [], []
    for parents, suspects in pairs:
        ours, theirs = _directions(parents), _directions(suspects)
        if len(ours) < _FEWEST or len(theirs) < _FEWEST:
            continue
        chosen = np.linspace(0, len(ours) - 1, min(len(ours), _MOST_ROWS)).astype(np.int64)
        among_ours = ours[chosen] @ ours.T
        among_ours[np.arange(len(chosen)), chosen] = -np.inf
        leads.append(_lead(ours[chosen] @ theirs.T))
        beside.append(_lead(among_ours))
        mirrored.append(_mirrored_leads(ours, theirs, chosen))
    if not leads:
        return False
    lead = np.concatenate(leads)
    if _larger(lead, np.concatenate(beside)) > ROWS_FALSE_ACCEPTANCE:
        return False
    # Twice the median of p-values is a p-value, however they depend on each other.
    likely = [_larger(lead, other) for other in np.concatenate(mirrored, axis=1)]
    return 2 * float(np.median(likely)) <= ROWS_FALSE_ACCEPTANCE


def _larger(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """How likely the values are as much larger than the others, if each could be the other."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(values, others, zero_method="zsplit", alternative="greater").pvalue)


def _directions(rows: Floats) -> Floats:
    """Of length one; rows of length zero are left out."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    live = lengths[:, 0] > 0
    directions: Floats = rows[live] / lengths[live]
    return directions


def _lead(cosines: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the nearest leads before the second nearest, for each row of cosines.

    As a logarithm of distances, that has one distribution in dense and in sparse places.
    """
    first, second = (1 - np.partition(cosines, [-2, -1], axis=1)[:, [-1, -2]].T).astype(np.float64)
    lead: NDArray[np.float64] = np.log(np.maximum(second, _SAME) / np.maximum(first, _SAME))
    return lead


def _mirrored_leads(ours: Floats, theirs: Floats, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """The lead of each chosen row among the suspect's rows, mirrored: float64 [times, chosen]."""
    squares, axes = np.linalg.eigh(ours.T @ ours + theirs.T @ theirs)
    axes = axes[:, squares > _NO_DIRECTION * squares[-1]].astype(np.float32)
    queries, others = ours[chosen] @ axes, (theirs @ axes).T
    drawn = Stream(bytes(32), f"mirrors of {axes.shape[1]} axes").bits(_MIRRORED * axes.shape[1])
    signs = 2 * drawn.reshape(_MIRRORED, -1).astype(np.float32) - 1
    return np.array([_lead((queries * sign) @ others) for sign in signs])
