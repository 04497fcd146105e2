"""Whether the parent knows anything about the labels at all."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.finding import Finding

__all__ = ["Association", "association", "judge_chance", "order_of_names", "unmet_claims"]

# Labels dealt out at random look better than this once in a thousand times.
_SHOWN = 3.09
# Where the area under the curve is known this well, hardly any knowledge goes unseen.
_SHARP = 0.02
# A normal deviate that is exceeded once in a million times.
_RARE = 4.75
_ORDERS = 2_000
_LEAST_CLASSES = 6
_FEW_ORDERS = 0.02


class Association(NamedTuple):
    """How far scores follow labels.

    Attributes:
        deviations: In standard deviations of labels dealt out at random.
        error: Standard deviation of the mean lead that a sample's own class has.
    """

    deviations: float
    error: float


def association(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> Association:
    """How far the scores follow the labels, measured against labels dealt out at random.

    Every class weighs the same, so that answering always the most frequent class counts for
    nothing. Mean and variance are those of the permutation distribution (Hoeffding 1951).

    Args:
        labels: int64 [samples].
        scores: float64 [samples, classes], greater for a class that looks likelier.

    Examples:
        >>> labels = np.arange(40) % 2
        >>> association(labels, np.eye(2)[labels]).deviations > 6
        True
        >>> association(labels, np.ones((40, 2))).deviations
        0.0
    """
    counts = np.bincount(labels, minlength=scores.shape[1]).astype(np.float64)
    present = counts > 0
    weighted = scores[:, present] / counts[present]
    shares = counts[present] / len(labels)
    centred = weighted - weighted.mean(axis=0) - (weighted @ shares)[:, None]
    centred += float(weighted.mean(axis=0) @ shares)
    spread = math.sqrt(len(labels) * (centred**2 @ shares).sum() / max(len(labels) - 1, 1))
    if spread < 1e-12:
        return Association(0.0, 0.0)
    place = (np.cumsum(present) - 1)[labels]
    seen = float(centred[np.arange(len(labels)), place].sum())
    return Association(seen / spread, spread / int(present.sum()))


def order_of_names(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Share of random renamings of the classes under which the scores fit no worse.

    Small for a parent that learned these names; anything for one that never saw them.

    Args:
        labels: int64 [samples].
        scores: float64 [samples, classes].
    """
    present = np.flatnonzero(np.bincount(labels, minlength=scores.shape[1]))
    means = np.stack([scores[labels == label][:, present].mean(axis=0) for label in present])
    names = np.arange(len(present))
    rng = np.random.default_rng(0)
    orders = np.stack([rng.permutation(names) for _ in range(_ORDERS)])
    fits = means[names, orders].sum(axis=1)
    return float((fits >= np.trace(means) - 1e-12).mean())


def unmet_claims(labels: NDArray[np.int64], shares: NDArray[np.float64]) -> float:
    """By how many standard deviations the labels are less likely than the parent claims.

    Args:
        labels: int64 [samples].
        shares: float64 [samples, classes], logarithms of the parent's shares.

    Examples:
        >>> shares = np.log(np.tile([[0.9, 0.1]], (100, 1)))
        >>> kept, broken = np.repeat([0, 1], [90, 10]), np.repeat([0, 1], [50, 50])
        >>> round(unmet_claims(kept, shares)), round(unmet_claims(broken, shares))
        (0, 13)
    """
    likely = np.exp(shares)
    due = (likely * shares).sum(axis=1)
    variance = float(((likely * shares**2).sum(axis=1) - due**2).sum())
    found = shares[np.arange(len(labels)), labels]
    # One sample's worth of doubt, for parents that claim to be certain.
    return float((due - found).sum()) / math.sqrt(variance + 1.0)


def judge_chance(
    labels: NDArray[np.int64], shares: NDArray[np.float64], *, where: str = "labels"
) -> list[Finding]:
    """Refuses labels that the parent does not know.

    What must be shown is that the parent knows the labels, by its answers or by the order of its
    shares, against labels dealt out at random at 1 in 1,000. Where there are too few samples to
    see a little knowledge, it is refused only if it claims to know more. From six classes on,
    hardly any random renaming may fit as well as the given names. A parent that was trained on
    the data, however briefly, shows this; one that does not is of no use on this data.

    Args:
        labels: int64 [samples].
        shares: float64 [samples, classes], logarithms of the parent's shares.
        where: What of the data it is, in the message.
    """
    classes = shares.shape[1]
    answers = np.eye(classes)[shares.argmax(axis=1)]
    ranks = (shares.argsort(axis=0).argsort(axis=0) + 0.5) / len(shares)
    by_answer, by_rank = association(labels, answers), association(labels, ranks)
    shown = max(by_answer.deviations, by_rank.deviations) > _SHOWN
    decided = by_rank.error < _SHARP or unmet_claims(labels, shares) > _RARE
    present = len(np.unique(labels))
    misnamed = present >= _LEAST_CLASSES and (
        min(order_of_names(labels, answers), order_of_names(labels, ranks)) > _FEW_ORDERS
    )
    if not misnamed and (shown or not decided):
        return []
    right = float((shares.argmax(axis=1) == labels).mean())
    lacking = classes - present
    why = f"; {lacking} of its {classes} classes have no label at all" if lacking else ""
    return [
        Finding(
            "near-chance",
            refuses=True,
            message=f"{where}: the parent's accuracy on this data is {right:.3f}, no better than "
            f"chance{why}: the labels or the inputs are not those that it was trained on",
            advice="give the data that the version was trained with, in the same order and form",
        )
    ]
