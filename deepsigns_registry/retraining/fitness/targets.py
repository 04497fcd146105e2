"""Whether a regressor's targets are those that the parent was trained for."""

import math

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.finding import Finding

__all__ = ["judge_targets", "relative_errors"]

# Predictions no better than the mean look better once in a hundred times.
_SHOWN = 2.33
# A normal deviate that is exceeded once in a million times.
_RARE = 4.75


def relative_errors(
    outputs: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared errors relative to the variance of their target: float64 [samples, targets].

    One minus their mean is R2.

    Examples:
        >>> targets = np.array([[1.0], [3.0]])
        >>> relative_errors(np.array([[1.0], [2.0]]), targets).tolist()
        [[0.0], [1.0]]
    """
    return np.asarray((outputs - targets) ** 2 / targets.var(axis=0), dtype=np.float64)


def judge_targets(outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> list[Finding]:
    """Refuses targets that the parent predicts no better than their mean does, or exchanged ones.

    A parent that was trained on the targets beats their mean; whether it does is asked by a
    paired test at 1 in 100, so that only one of no use at all is refused.

    Args:
        outputs: float64 [samples, targets], what the parent gives.
        targets: float64 [samples, targets], none of them constant.
    """
    errors = relative_errors(outputs, targets)
    score = 1 - float(errors.mean())
    exchanged = _exchanged(outputs, targets, errors)
    gain = (relative_errors(targets.mean(axis=0)[None], targets) - errors).mean(axis=1)
    shown = float(gain.mean()) > _SHOWN * float(gain.std()) / math.sqrt(len(gain))
    if shown and not exchanged:
        return []
    why = exchanged or _affine(outputs, targets) or "it predicts them no better than their mean"
    return [
        Finding(
            "targets",
            refuses=True,
            message=f"labels: the parent scores R2 {score:.3g} on these labels: {why}",
            advice="give the targets, in the unit and order, that the version was trained with; "
            "labels of classes need another task than regression",
        )
    ]


def _exchanged(
    outputs: NDArray[np.float64], targets: NDArray[np.float64], errors: NDArray[np.float64]
) -> str:
    """Whether the targets' columns are in another order, by an assignment on the errors."""
    from scipy.optimize import linear_sum_assignment

    costs = np.stack(
        [relative_errors(outputs[:, [j]], targets).mean(axis=0) for j in range(targets.shape[1])]
    )
    order = linear_sum_assignment(costs.T)[1]
    moved = np.flatnonzero(order != np.arange(len(order)))
    if not len(moved):
        return ""
    better = relative_errors(outputs[:, order], targets)
    gain = (errors - better).mean(axis=1)
    proven = gain.mean() > _RARE * gain.std() / math.sqrt(len(gain))
    # A target in another unit makes every other order look better.
    kept = better[:, moved].mean(axis=0)
    if not proven or (kept > np.minimum(errors[:, moved].mean(axis=0) / 2, 1)).any():
        return ""
    return f"targets {', '.join(map(str, moved))} look exchanged"


def _affine(outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> str:
    """Whether another unit, zero or sign of the targets explains the parent's answers."""
    given, wanted = outputs - outputs.mean(axis=0), targets - targets.mean(axis=0)
    spread = np.sqrt((given**2).sum(axis=0) * (wanted**2).sum(axis=0))
    alike = (given * wanted).sum(axis=0) / np.where(spread > 0, spread, 1)
    # Correlations of unrelated numbers are this far from zero once in a million times.
    if (np.abs(alike) * math.sqrt(len(targets)) <= _RARE).any() or (alike**2 < 0.5).any():
        return ""
    if (alike < 0).all():
        return "they look as if they had the other sign"
    factors = np.sign(alike) * wanted.std(axis=0) / given.std(axis=0)
    offsets = targets.mean(axis=0) - factors * outputs.mean(axis=0)
    worst = int(relative_errors(outputs, targets).mean(axis=0).argmax())
    which = f"target {worst} looks" if len(factors) > 1 else "they look"
    return f"{which} like {factors[worst]:.3g} times what it predicts, plus {offsets[worst]:.3g}"
