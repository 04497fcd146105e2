"""What a marking does next, from what it has seen of itself: pure functions.

A round that leaves a scheme short of what is wanted is followed by one that weighs this scheme
more; one that costs too much, by one that weighs less what has evidence in plenty, in which the
task wins its accuracy back. Evidence goes slowly: on data with few features a tenth of the
queries' weight kept nine tenths of their matches and won back all of the accuracy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepsigns_registry.watermark.embed import Course
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.observe import Observation

__all__ = [
    "Goal",
    "Round",
    "has_strayed",
    "is_acceptable",
    "is_done",
    "next_course",
    "reweighed",
    "shortfall",
]

# Far beyond every bar and every adjustment: what is above it may be spent on accuracy.
_PLENTY = -40.0
# A scheme that has most of its matches pushes little any more; one that has not pushes on.
_MOST_MATCHES = 0.9
_RELIEF = 0.1
_RELIEVED_RATE = 0.7


@dataclass(frozen=True)
class Goal:
    """What a marking is after.

    Attributes:
        max_drop: Loss of score that is allowed, on the validation samples.
        max_changed: Share of answers that may change beyond that of a plain fine-tuning.
        held: A plain fine-tuning changes next to none, as it is held to the parent's answers.
        wanted: Adjusted log10 p that each scheme is trained for; leaves a reserve for what a
            thief does, and for tries to come.
        needed: Adjusted log10 p that is accepted in the end.
        rounds: Further rounds, at most.
    """

    max_drop: float
    max_changed: float = 1.0
    wanted: float = -15.0
    needed: float = -9.0
    rounds: int = 4
    held: bool = False


@dataclass(frozen=True)
class Round:
    """One round, and what was seen after it.

    Attributes:
        course: How it was trained.
        steps: Optimizer steps.
        seen: Of the model after it.
    """

    course: Course
    steps: int
    seen: Observation


def shortfall(seen: Observation, schemes: Sequence[str], bar: float) -> list[str]:
    """The schemes whose adjusted log10 p is above a bar."""
    return [name for name in schemes if seen.log10_p(name) > bar]


def is_acceptable(seen: Observation, schemes: Sequence[str], goal: Goal) -> bool:
    """Whether a model may be given out as marked."""
    short = shortfall(seen, schemes, goal.needed)
    return not short and not seen.unread and seen.cost.drop <= goal.max_drop


def is_done(seen: Observation, schemes: Sequence[str], goal: Goal) -> bool:
    """Whether nothing is left to be wished for."""
    short = shortfall(seen, schemes, goal.wanted)
    return not short and not seen.unread and not _harmed(seen, goal)


def _harmed(seen: Observation, goal: Goal) -> bool:
    """More than allowed, or half of it when that is no accident of the validation samples."""
    cost = seen.cost
    really = cost.low > 0 and cost.drop > goal.max_drop / 2
    return cost.drop > goal.max_drop or really or has_strayed(seen, goal)


def has_strayed(seen: Observation, goal: Goal) -> bool:
    """Whether more answers changed than may, where next to none would without a mark."""
    return goal.held and seen.changed > goal.max_changed


def reweighed(seen: Observation, factors: Mapping[str, float]) -> dict[str, float]:
    """Halfway through a round: what has evidence in plenty and still pushes is weighed less."""
    found = dict(factors)
    for entry in seen.evidence:
        plenty = seen.log10_p(entry.scheme) <= _PLENTY
        if plenty and isinstance(entry, Matches) and entry.matches < _MOST_MATCHES * entry.trials:
            found[entry.scheme] = _RELIEF * found.get(entry.scheme, 1.0)
    return found


def next_course(rounds: Sequence[Round], schemes: Sequence[str], goal: Goal) -> Course | None:
    """How to go on after some rounds; None when there is nothing to be won any more.

    Args:
        rounds: All of them, at least one; the first had the whole length.
        schemes: Those of the record.
        goal: What is wanted.
    """
    last, length = rounds[-1].seen, rounds[0].steps
    if is_done(last, schemes, goal) or len(rounds) > goal.rounds:
        return None
    if len(rounds) > 1 and last.unread and rounds[-2].seen.unread:
        # The tap went its own way, and more training does not bring it back.
        return None
    before = rounds[-1].course.factors
    short, harmed = shortfall(last, schemes, goal.wanted), _harmed(last, goal) or last.unread
    factors = {}
    for name in schemes:
        if name in short:
            # Weighed more each time, but not beyond where it would drown the task.
            factors[name] = min(9.0, max(1.0, before.get(name, 1.0)) * (1.0 if harmed else 3.0))
        elif harmed:
            factors[name] = _RELIEF * min(1.0, before.get(name, 1.0))
        else:
            factors[name] = min(1.0, before.get(name, 1.0))
    if not short:
        return Course(max(1, length // 2), _RELIEVED_RATE, factors)
    again = len([each for each in rounds if shortfall(each.seen, short, goal.wanted)])
    return Course(length * min(again, 2), _RELIEVED_RATE if harmed else 1.0, factors)
