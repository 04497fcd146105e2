"""Whether the parent scores on this data what was logged with its version."""

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.exact import MATTERS, RATE, least_share, more_often
from deepsigns_registry.retraining.fitness.finding import Finding

__all__ = ["judge_logged", "judge_logged_r2", "logged_score"]

_SPLIT = r"(?:(?:val|valid|validation|test|eval|train|training)[_/ -])?"
_NAMES = {
    "accuracy": re.compile(rf"{_SPLIT}(?:accuracy|acc|accuracy_score)"),
    "R2": re.compile(rf"{_SPLIT}(?:r2|r2_score)"),
}
_HELD_OUT = re.compile(r"val(id|idation)?[_/ -]")
# A normal deviate that is exceeded once in a million times.
_RARE = 4.75


def logged_score(metrics: Mapping[str, float], score: str) -> tuple[str, float] | None:
    """The lowest metric that can only be this score: its name, and its value up to 1.

    The lowest, as the training's own figure may be out of reach of a validation set. Metrics
    with other words in their names (best, top5, balanced) are something else.

    Args:
        metrics: As they were logged.
        score: `accuracy` or `R2`.

    Examples:
        >>> logged_score({"val_accuracy": 97.5, "loss": 0.1, "best_accuracy": 0.99}, "accuracy")
        ('val_accuracy', 0.975)
    """
    found = []
    for name, value in metrics.items():
        if _NAMES[score].fullmatch(name.lower()):
            share = value / 100 if score == "accuracy" and 1 < value <= 100 else value
            if 0 < share <= 1:
                found.append((share, name))
    return (min(found)[1], min(found)[0]) if found else None


def judge_logged(
    metrics: Mapping[str, float], right: NDArray[np.bool_], train: NDArray[np.bool_]
) -> list[Finding]:
    """Refuses data on which the parent is far less accurate than was logged.

    Both splits have to be: on one of them it may have been trained, and which one the metric
    belongs to is not said. Of a metric named after the validation samples it is: these alone
    count. Null: the metric was measured on as many samples of one distribution.

    Args:
        metrics: As they were logged.
        right: bool [samples], whether the parent answers as labelled.
        train: bool [samples], whether the sample is one of the training split.
    """
    for name, value, splits in _claims(metrics, "accuracy", train):
        if all(_less_accurate(right[rows], value) for rows in splits):
            return [_below(name, value, "accuracy", float(right[~train].mean()))]
    return []


def _less_accurate(right: NDArray[np.bool_], value: float) -> bool:
    wrong, due = int((~right).sum()), round((1 - value) * len(right))
    proven = more_often(wrong, len(right), due, len(right)) <= RATE
    return proven and least_share(wrong, len(right)) > 1 - value + MATTERS


def judge_logged_r2(
    metrics: Mapping[str, float], errors: NDArray[np.float64], train: NDArray[np.bool_]
) -> list[Finding]:
    """Refuses data on which a regressor scores far less than was logged; see `judge_logged`.

    Args:
        metrics: As they were logged.
        errors: float64 [samples], squared errors relative to the variance of the targets.
        train: bool [samples], whether the sample is one of the training split.
    """
    for name, value, splits in _claims(metrics, "R2", train):
        if all(_further_off(errors[rows], value) for rows in splits):
            return [_below(name, value, "R2", 1 - float(errors[~train].mean()))]
    return []


def _further_off(errors: NDArray[np.float64], value: float) -> bool:
    # Twice the variance: the logged figure was measured on a sample of its own.
    doubt = float(errors.std()) * math.sqrt(2 / len(errors))
    return float(errors.mean()) - _RARE * doubt > 1 - value + MATTERS


def _claims(
    metrics: Mapping[str, float], score: str, train: NDArray[np.bool_]
) -> list[tuple[str, float, tuple[NDArray[np.bool_], ...]]]:
    """What was logged, and the samples that it has to hold for, one set of them at least."""
    held_out = {name: value for name, value in metrics.items() if _HELD_OUT.match(name.lower())}
    found = (
        (logged_score(metrics, score), (train, ~train)),
        (logged_score(held_out, score), (~train,)),
    )
    return [(*logged, splits) for logged, splits in found if logged is not None]


def _below(name: str, value: float, score: str, found: float) -> Finding:
    return Finding(
        "below-logged",
        refuses=True,
        message=f"data: the parent's {score} is {found:.3f} on the validation samples, but "
        f"{name} was logged as {value:.3f} with the version",
        advice="give the data that the version was trained and measured with",
    )
