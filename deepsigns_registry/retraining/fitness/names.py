"""Whether the labels bear other names than the parent's: classes exchanged or in another order."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.exact import RATE, least_share, sign_test
from deepsigns_registry.retraining.fitness.finding import Finding

__all__ = ["Renaming", "best_renaming", "judge_names"]

_NAMED = 4
# So many answers of one class that has no label are no errors of the parent's.
_LEAST_MERGED, _MERGED = 20, 0.5
_MERGED_OF = 4


class Renaming(NamedTuple):
    """Another name for some labels, under which the parent is right more often.

    Attributes:
        moves: Label to the class that the parent answers for it; only what changes.
        before: Share of right answers as labelled.
        after: Share of right answers under the other names.
    """

    moves: dict[int, int]
    before: float
    after: float


def best_renaming(
    labels: NDArray[np.int64], answers: NDArray[np.int64], classes: int
) -> Renaming | None:
    """The exchange of names that explains the parent's answers, if any explains them.

    The names are an assignment on the confusion matrix, taken apart into its cycles. Null: for
    data that a parent learned, the right answer is at least as frequent as any one wrong answer
    in the same place. Each cycle is kept only where a sign test over its samples, and the same
    with every class weighing as much as another, contradict this at `RATE`, corrected for every
    exchange of so many classes that there is; and only where it explains at least half of the
    errors in its classes, as a parent that was stopped early confuses some of them as well.

    Args:
        labels: int64 [samples].
        answers: int64 [samples], what the parent says.
        classes: How many classes there are.

    Examples:
        >>> labels = np.arange(60) % 3
        >>> exchanged = np.array([1, 0, 2])[labels]
        >>> found = best_renaming(labels, exchanged, 3)
        >>> found.moves, best_renaming(labels, labels, 3)
        ({0: 1, 1: 0}, None)
    """
    from scipy.optimize import linear_sum_assignment

    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels, answers), 1)
    counts = confusion.sum(axis=1)
    # A class that has no sample keeps its name where that costs nothing.
    confusion += np.eye(classes) * 1e-3
    target = linear_sum_assignment(confusion, maximize=True)[1]
    kept: dict[int, int] = {}
    for cycle in _cycles(target):
        members = [label for label in cycle if counts[label]]
        if _proven(confusion, counts, members, target, classes):
            kept |= {label: int(target[label]) for label in members}
    if not kept:
        return None
    renamed = np.array([kept.get(label, label) for label in range(classes)])
    return Renaming(
        kept, float((answers == labels).mean()), float((answers == renamed[labels]).mean())
    )


def judge_names(
    labels: NDArray[np.int64], answers: NDArray[np.int64], classes: int
) -> list[Finding]:
    """Refuses labels whose names are exchanged, see `best_renaming`, or two of which are one."""
    found = best_renaming(labels, answers, classes)
    if found is None:
        return _merged(labels, answers, classes)
    return [
        Finding(
            "renamed-classes",
            refuses=True,
            message=f"labels: {_said(found.moves)}: the parent's accuracy is {found.before:.3f} "
            f"on these labels and {found.after:.3f} after that renaming",
            advice="give the labels the order of classes that the model was trained with",
        )
    ]


def _merged(labels: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> list[Finding]:
    """A class that the parent answers as often as others, and that no sample is labelled."""
    absent = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if len(absent) > max(1, classes // _MERGED_OF):
        return []  # these are labels of another task
    for label in absent:
        rows = labels[answers == label]
        if len(rows) < max(_LEAST_MERGED, len(labels) / (2 * classes)):
            continue
        into = int(np.bincount(rows).argmax())
        named = int((rows == into).sum())
        if least_share(named, len(rows)) < _MERGED:
            continue
        return [
            Finding(
                "renamed-classes",
                refuses=True,
                message=f"labels: no sample is labelled {label}, and {named} of {len(rows)} that "
                f"the parent answers {label} are labelled {into}: the two classes look merged",
                advice="give the labels that the model was trained with",
            )
        ]
    return []


def _proven(
    confusion: NDArray[np.float64],
    counts: NDArray[np.float64],
    members: list[int],
    target: NDArray[np.int64],
    classes: int,
) -> bool:
    if len(members) < 2:
        return False
    wins = np.array([round(confusion[label, target[label]]) for label in members])
    losses = np.array([round(confusion[label, label]) for label in members])
    missed = counts[members].sum()
    if 2 * (missed - wins.sum()) > missed - losses.sum():
        return False
    # So many exchanges of this many classes could have been picked.
    tried = math.lgamma(classes + 1) - math.lgamma(classes - len(members) + 1)
    limit = math.log(RATE) - tried
    weights = 1 / counts[members]
    lead = float((weights * (wins - losses)).sum())
    # Hoeffding's bound for a weighted sum of signs.
    balanced = -(max(lead, 0.0) ** 2) / (2 * float((weights**2 * (wins + losses)).sum()) or 1.0)
    plain = sign_test(int(wins.sum()), int(losses.sum()))
    return balanced <= limit and math.log(max(plain, 1e-300)) <= limit


def _cycles(target: NDArray[np.int64]) -> list[list[int]]:
    cycles, seen = [], set()
    for start in range(len(target)):
        cycle, place = [], start
        while place not in seen:
            seen.add(place)
            cycle.append(place)
            place = int(target[place])
        if len(cycle) > 1:
            cycles.append(cycle)
    return cycles


def _said(moves: dict[int, int]) -> str:
    pairs = [(a, b) for a, b in moves.items() if a < b and moves.get(b) == a]
    if 2 * len(pairs) == len(moves):
        return " and ".join(f"classes {a} and {b}" for a, b in pairs[:_NAMED]) + " look exchanged"
    shown = ", ".join(f"label {a} is answered {b}" for a, b in list(moves.items())[:_NAMED])
    more = ", ..." if len(moves) > _NAMED else ""
    return f"the classes look like they are in another order ({shown}{more})"
