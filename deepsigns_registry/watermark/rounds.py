"""Rounds of a marking as plain values: a checkpoint holds them."""

from typing import Any

from deepsigns_registry.watermark.embed import Course
from deepsigns_registry.watermark.fidelity import Cost
from deepsigns_registry.watermark.observe import Observation
from deepsigns_registry.watermark.plan import Round
from deepsigns_registry.watermark.verdict import Evidence

__all__ = ["observation_of", "plain_observation", "plain_round", "round_of"]


def plain_round(each: Round) -> dict[str, Any]:
    """A round as JSON can hold it."""
    course = each.course
    return {
        "course": [course.steps, course.learning_rate, dict(course.factors)],
        "steps": each.steps,
        "seen": plain_observation(each.seen),
    }


def plain_observation(seen: Observation) -> dict[str, Any]:
    """An observation as JSON can hold it."""
    return {
        "evidence": [
            [entry.scheme, entry.trials, entry.matches, entry.chance, entry.level]
            for entry in seen.evidence
        ],
        "unread": list(seen.unread),
        "cost": list(seen.cost),
        "changed": seen.changed,
        "tries": seen.tries,
    }


def observation_of(content: dict[str, Any]) -> Observation:
    """Reads what `plain_observation` wrote."""
    return Observation(
        evidence=tuple(Evidence(*entry) for entry in content["evidence"]),
        unread=tuple(content["unread"]),
        cost=Cost(*content["cost"]),
        changed=content["changed"],
        tries=content["tries"],
    )


def round_of(content: dict[str, Any]) -> Round:
    """Reads what `plain_round` wrote."""
    return Round(Course(*content["course"]), content["steps"], observation_of(content["seen"]))
