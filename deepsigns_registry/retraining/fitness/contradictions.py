"""Rows where a parent that is sure of itself contradicts the label.

A parent that was trained on the data is about as sure on it as it is right, and more modest where
it was trained briefly or with label smoothing. Wrong labels are contradicted by the surest
answers, and by the neighbours of the sample; an ignorant parent's errors are not.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.exact import (
    MATTERS,
    RATE,
    excess,
    least_share,
    sign_test,
)
from deepsigns_registry.retraining.fitness.finding import Finding
from deepsigns_registry.retraining.fitness.neighbours import vote
from deepsigns_registry.retraining.fitness.seen import log_shares

__all__ = [
    "Surest",
    "claims_too_much",
    "evened",
    "judge_contradictions",
    "surer_than_right",
    "surest_half",
]

_ASKED = 500
_LEAST_ROWS = 20
_ONE_SIDED = 1e-3
_STEPS = 30
# One that was trained on other samples of the same kind is right more often than this.
_TRUSTED = 0.5


class Surest(NamedTuple):
    """The half of the rows that the parent is surest of.

    Attributes:
        rows: int64, their places.
        wrong: How many of them it contradicts.
        due: How many that would be by its own shares.
    """

    rows: NDArray[np.int64]
    wrong: int
    due: float


def surest_half(labels: NDArray[np.int64], shares: NDArray[np.float64]) -> Surest:
    """The rows with the greatest lead of the answer before the next class.

    Args:
        labels: int64 [samples].
        shares: float64 [samples, classes], logarithms.

    Examples:
        >>> labels = np.array([0, 1, 1, 0])
        >>> shares = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]))
        >>> surest_half(labels, shares)[0].tolist()
        [0, 1]
    """
    two = np.partition(shares, -2, axis=1)[:, -2:]
    rows = np.argsort(two[:, 0] - two[:, 1], kind="stable")[: len(labels) // 2]
    wrong = shares[rows].argmax(axis=1) != labels[rows]
    doubts = 1 - np.exp(shares[rows].max(axis=1))
    return Surest(np.asarray(rows, dtype=np.int64), int(wrong.sum()), float(doubts.sum()))


def evened(labels: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shares with the bias of each class that makes the labels likeliest.

    A parent trained with weights for its classes prefers some of them on purpose.

    Args:
        labels: int64 [samples].
        shares: float64 [samples, classes], logarithms.

    Examples:
        >>> labels = np.array([0, 1, 1, 0])
        >>> shares = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]))
        >>> biased = shares + np.log([1.0, 9.0])
        >>> np.exp(evened(labels, biased)).sum(axis=0).round(1)
        array([2., 2.])
    """
    wanted = np.log(np.bincount(labels, minlength=shares.shape[1]) + 0.5)
    even = shares
    for _ in range(_STEPS):
        even = log_shares(even + wanted - np.log(np.exp(even).sum(axis=0) + 0.5))
    return even


def surer_than_right(labels: NDArray[np.int64], shares: NDArray[np.float64]) -> bool:
    """Whether the parent is wrong more often than it admits, on all rows or the surest.

    At `RATE`, and as well with its classes evened (see `evened`).

    Args:
        labels: int64 [samples].
        shares: float64 [samples, classes], logarithms.

    Examples:
        >>> labels = np.array([0, 1, 1, 0])
        >>> shares = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]))
        >>> surer_than_right(labels, shares)
        False
        >>> sure = np.log(np.tile([[0.99, 0.01], [0.01, 0.99]], (50, 1)))
        >>> surer_than_right(np.arange(100) // 2 % 2, sure)
        True
    """
    return claims_too_much(labels, shares) and claims_too_much(labels, evened(labels, shares))


def claims_too_much(labels: NDArray[np.int64], shares: NDArray[np.float64]) -> bool:
    """The same of a parent that prefers no class on purpose; see `surer_than_right`."""
    surest = surest_half(labels, shares)
    wrong = int((shares.argmax(axis=1) != labels).sum())
    due = float((1 - np.exp(shares.max(axis=1))).sum())
    return min(excess(wrong, due), excess(surest.wrong, surest.due)) <= RATE


def judge_contradictions(
    inputs: NDArray[np.float32], labels: NDArray[np.int64], shares: NDArray[np.float64]
) -> list[Finding]:
    """Refuses training rows with many wrong labels, and labels that only the parent cannot tell.

    Args:
        inputs: float32 [samples, ...], of the training split.
        labels: int64 [samples].
        shares: float64 [samples, classes], logarithms.
    """
    if len(labels) < 2 * _LEAST_ROWS or not surer_than_right(labels, shares):
        return []
    shares = evened(labels, shares)
    surest = surest_half(labels, shares)
    answers = np.asarray(shares.argmax(axis=1), dtype=np.int64)
    return (
        _wrong_labels(inputs, labels, answers, surest)
        or _strange(inputs, labels, answers)
        or _overrated(labels, shares)
    )


def _wrong_labels(
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    surest: Surest,
) -> list[Finding]:
    least = least_share(surest.wrong, len(surest.rows))
    if least <= MATTERS or excess(surest.wrong, surest.due) > RATE:
        return []
    contradicted = np.sort(surest.rows[answers[surest.rows] != labels[surest.rows]])
    votes = vote(inputs, labels, answers, contradicted[:_ASKED])
    with_parent = int((votes.other > votes.given).sum())
    with_label = int((votes.given > votes.other).sum())
    if sign_test(with_parent, with_label) > _ONE_SIDED:
        return []
    share = surest.wrong / len(surest.rows)
    return [
        Finding(
            "wrong-labels",
            refuses=True,
            message=f"train: about {share:.0%} of the labels look wrong: the parent contradicts "
            f"{surest.wrong} of the {len(surest.rows)} rows that it is surest of, where "
            f"{surest.due:.1f} are due, and {with_parent} of {with_parent + with_label} of them "
            "are contradicted by similar samples as well",
            advice="mend the labels, or promote a version that was trained with them",
        )
    ]


def _overrated(labels: NDArray[np.int64], shares: NDArray[np.float64]) -> list[Finding]:
    """The parent is right less than half as often as it claims, on what it was trained on."""
    right = float((shares.argmax(axis=1) == labels).mean())
    claimed = float(np.exp(shares.max(axis=1)).mean())
    if right >= _TRUSTED * claimed:
        return []
    return [
        Finding(
            "another-data",
            refuses=True,
            message=f"train: the parent claims to be right in {claimed:.0%} of these samples, and "
            f"is in {right:.0%}: the inputs are not in the form, or not of the data, that it was "
            "trained on",
            advice="give the columns, the channels and the scaling that the version was trained "
            "with",
        )
    ]


def _strange(
    inputs: NDArray[np.float32], labels: NDArray[np.int64], answers: NDArray[np.int64]
) -> list[Finding]:
    """The labels can be told from the inputs, but not by this parent, sure as it is."""
    asked = np.arange(len(labels))[:: max(1, len(labels) // (2 * _ASKED))]
    near = vote(inputs, labels, answers, asked).most == labels[asked]
    parent = answers[asked] == labels[asked]
    wins, losses = int((near & ~parent).sum()), int((parent & ~near).sum())
    if sign_test(wins, losses) > RATE or 2 * (~near).sum() > (~parent).sum():
        return []
    return [
        Finding(
            "another-data",
            refuses=True,
            message=f"train: the parent's accuracy is {parent.mean():.3f} though it is sure of "
            f"itself, and similar samples tell the labels with {near.mean():.3f}: the inputs are "
            "not in the form, or not of the data, that it was trained on",
            advice="give the columns and the scaling that the version was trained with",
        )
    ]
