"""Whether the validation samples are of the same kind as the training samples, and enough.

What a mark costs is measured on the validation samples alone: a fault of one split would be
hidden by the other.
"""

import math

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.chance import judge_chance
from deepsigns_registry.retraining.fitness.finding import Finding
from deepsigns_registry.retraining.fitness.rows import row_digests, row_size
from deepsigns_registry.retraining.fitness.seen import Answered
from deepsigns_registry.retraining.fitness.targets import relative_errors
from deepsigns_registry.watermark.data import TrainingData

__all__ = ["judge_each_split", "judge_each_target", "judge_validation"]

_LEAST = 20
# Splits of one data set drift, but the middle of their sizes not by this much.
_ANOTHER_SCALE = 8.0
# A normal deviate that is exceeded once in a thousand times.
_SHOWN = 3.09


def judge_validation(data: TrainingData) -> list[Finding]:
    """Refuses too few validation samples, and those on another scale than the training samples.

    Args:
        data: Both splits.
    """
    findings = []
    found = len(np.unique(row_digests(data.validation.inputs)))
    if found < _LEAST:
        findings.append(
            Finding(
                "too-few-samples",
                refuses=True,
                message=f"validation: the data has {found} different samples, {_LEAST} are needed "
                "to tell what the mark costs",
                advice="give more validation data; rows that stand twice count once",
            )
        )
    sizes = [row_size(split.inputs) for split in (data.train, data.validation)]
    if max(sizes) > _ANOTHER_SCALE * min(sizes):
        findings.append(
            Finding(
                "splits-differ",
                refuses=True,
                message=f"validation: the middle sample is of size {sizes[1]:.3g}, that of the "
                f"training samples of size {sizes[0]:.3g} (root mean square)",
                advice="give both splits in the form that the version was trained with",
            )
        )
    return findings


def judge_each_split(seen: Answered) -> list[Finding]:
    """Refuses a split of which the parent, a classifier, knows no more than chance.

    Args:
        seen: What the parent answers.
    """
    for name, rows in (("train", seen.train), ("validation", ~seen.train)):
        found = judge_chance(seen.classes[rows], seen.outputs[rows], where=name)
        if found:
            return found
    return []


def judge_each_target(
    outputs: NDArray[np.float64], targets: NDArray[np.float64], train: NDArray[np.bool_]
) -> list[Finding]:
    """Refuses targets that a regressor predicts worse than their mean does, in one of the splits.

    Predicting nothing is no fault of the data: a parent may know one target better than another.
    Being further off than the mean is, which a paired test says at one in a thousand.

    Args:
        outputs: float64 [samples, targets], what the parent gives.
        targets: float64 [samples, targets].
        train: bool [samples], whether the sample is one of the training split.
    """
    for name, rows in (("train", train), ("validation", ~train)):
        if rows.sum() < 2 or not targets[rows].var(axis=0).all():
            continue
        errors = relative_errors(outputs[rows], targets[rows])
        excess = errors - relative_errors(targets[rows].mean(axis=0)[None], targets[rows])
        doubt = excess.std(axis=0) / math.sqrt(len(excess))
        worse = np.flatnonzero(excess.mean(axis=0) > _SHOWN * np.maximum(doubt, 1e-30))
        if len(worse):
            target = int(worse[0])
            which = f" for target {target}" if targets.shape[1] > 1 else ""
            score = 1 - float(errors[:, target].mean())
            return [
                Finding(
                    "targets",
                    refuses=True,
                    message=f"{name}: the parent scores R2 {score:.3g}{which}: it predicts these "
                    "labels worse than their mean does",
                    advice="give each row the targets that belong to it, as the version was "
                    "trained with",
                )
            ]
    return []
