"""Rounds of a marking as plain values: a checkpoint holds them."""

from dataclasses import asdict
from typing import Any

from deepsigns_registry.watermark.embed import Course
from deepsigns_registry.watermark.evidence import Correlation, Evidence, Matches
from deepsigns_registry.watermark.fidelity import Cost
from deepsigns_registry.watermark.observe import Observation
from deepsigns_registry.watermark.plan import Round

__all__ = ["observation_of", "plain_observation", "plain_round", "round_of"]

_KINDS: dict[str, type[Evidence]] = {kind.__name__: kind for kind in (Matches, Correlation)}


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
        "evidence": [[type(entry).__name__, asdict(entry)] for entry in seen.evidence],
        "unread": list(seen.unread),
        "cost": list(seen.cost),
        "changed": seen.changed,
        "tries": seen.tries,
    }


def observation_of(content: dict[str, Any]) -> Observation:
    """Reads what `plain_observation` wrote."""
    return Observation(
        evidence=tuple(_KINDS[kind](**values) for kind, values in content["evidence"]),
        unread=tuple(content["unread"]),
        cost=Cost(*content["cost"]),
        changed=content["changed"],
        tries=content["tries"],
    )


def round_of(content: dict[str, Any]) -> Round:
    """Reads what `plain_round` wrote."""
    return Round(Course(*content["course"]), content["steps"], observation_of(content["seen"]))
