"""The judgement of the owner's data for one parent, before anything is trained."""

import math
from dataclasses import replace

import numpy as np
import torch

from deepsigns_registry.errors import DeepSignsError
from deepsigns_registry.retraining.fitness.chance import judge_chance
from deepsigns_registry.retraining.fitness.constant import judge_constant
from deepsigns_registry.retraining.fitness.contradictions import judge_contradictions
from deepsigns_registry.retraining.fitness.counts import Row, count
from deepsigns_registry.retraining.fitness.described import Described
from deepsigns_registry.retraining.fitness.example import Comparison, compare
from deepsigns_registry.retraining.fitness.expectations import judge_table
from deepsigns_registry.retraining.fitness.finding import Finding, Judgement
from deepsigns_registry.retraining.fitness.form import constant_features, judge_form
from deepsigns_registry.retraining.fitness.inputs import judge_inputs
from deepsigns_registry.retraining.fitness.logged import judge_logged, judge_logged_r2
from deepsigns_registry.retraining.fitness.names import judge_names
from deepsigns_registry.retraining.fitness.rows import judge_amount, judge_copies
from deepsigns_registry.retraining.fitness.seen import Answered, answers_of
from deepsigns_registry.retraining.fitness.splits import (
    judge_each_split,
    judge_each_target,
    judge_validation,
)
from deepsigns_registry.retraining.fitness.targets import judge_targets, relative_errors
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.task import SCORES

__all__ = ["judge_data"]

# Reasons that speak of a misfit without knowing where it comes from.
_VAGUE = ("near-chance", "another-data", "below-logged")
_MANY = 5


def judge_data(
    model: TappedModel,
    data: TrainingData,
    described: Described,
    *,
    device: torch.device | str,
    options: MarkSettings | None = None,
) -> Judgement:
    """Judges whether this data is the data of this parent.

    At most 10,000 samples go through the model, always the same ones.

    Args:
        model: The unmarked parent. A classifier gives logits, or the logarithms of shares.
        data: Both splits.
        described: What the version says of itself.
        device: Where the model runs.
        options: Says how many different samples a mark needs; by default the default mark.
    """
    options = options or MarkSettings()
    findings = judge_form(data, described)
    compared = _compared(data, described)
    rows = count(data, described, compared, options)
    score = math.nan
    if not any(found.refuses for found in findings):
        asked, score = _ask(model, data, described, compared, torch.device(device))
        findings += [
            *judge_copies(data),
            *asked,
            *judge_amount(data, options),
            *judge_validation(data),
        ]
    ordered = sorted(_with_hints(findings, data), key=lambda found: not found.refuses)
    return Judgement(
        findings=tuple(ordered),
        score=score,
        score_name=SCORES[data.task],
        expectations=judge_table(rows),
        figures=_figures(rows, data),
    )


def _compared(data: TrainingData, described: Described) -> Comparison | None:
    example = described.example
    inputs = data.train.inputs
    if example is None or example[0].size != inputs[0].size or not len(data.validation):
        return None
    both = np.concatenate([inputs, data.validation.inputs])
    return compare(example, both) if np.isfinite(both).all() else None


def _ask(
    model: TappedModel,
    data: TrainingData,
    described: Described,
    compared: Comparison | None,
    device: torch.device,
) -> tuple[list[Finding], float]:
    try:
        seen = answers_of(model, data, device)
    except (DeepSignsError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        shape, said = data.train.inputs.shape[1:], (str(error).splitlines() or [""])[0][:200]
        return [_unusable(f"the parent cannot run on samples of shape {shape}: {said}")], math.nan
    if not np.isfinite(seen.outputs).all():
        bad = int((~np.isfinite(seen.outputs).all(axis=1)).sum())
        return [_unusable(f"the parent gives NaN or infinity for {bad} samples")], math.nan
    width = int(np.prod(seen.outputs.shape[1:]))
    if data.task == "embedding":
        return _of_inputs(compared), math.nan
    if width != data.classes:
        return [_unusable(f"labels for {data.classes} outputs, the parent gives {width}")], math.nan
    if data.task == "regression":
        return _regressor(model, seen, described, compared, device)
    return _classifier(model, seen, described, compared, device)


def _classifier(
    model: TappedModel,
    seen: Answered,
    described: Described,
    compared: Comparison | None,
    device: torch.device,
) -> tuple[list[Finding], float]:
    labels, train = seen.classes, seen.train
    score = float(seen.right[~train].mean())
    names = judge_names(labels, seen.answers, seen.outputs.shape[1])
    inputs = judge_inputs(model, seen, compared, device, classifies=True)
    # An example of other data says that the inputs are wrong, whatever names would fit.
    first = [*inputs, *names] if compared is not None and compared.differs else [*names, *inputs]
    findings = [
        *first,
        *judge_constant(model, seen, described.example, compared, device),
        *(judge_chance(labels, seen.outputs) or judge_each_split(seen)),
        *judge_logged(described.metrics, seen.right, train),
        *judge_contradictions(seen.inputs[train], labels[train], seen.outputs[train]),
    ]
    return findings, score


def _regressor(
    model: TappedModel,
    seen: Answered,
    described: Described,
    compared: Comparison | None,
    device: torch.device,
) -> tuple[list[Finding], float]:
    targets = seen.labels.astype(np.float64)
    flat = replace(seen, outputs=seen.outputs.reshape(targets.shape))
    errors = relative_errors(flat.outputs, targets).mean(axis=1)
    held = relative_errors(flat.outputs[~seen.train], targets[~seen.train])
    findings = [
        *judge_inputs(model, flat, compared, device, classifies=False),
        *(
            judge_targets(flat.outputs, targets)
            or judge_each_target(flat.outputs, targets, seen.train)
        ),
        *judge_logged_r2(described.metrics, errors, seen.train),
    ]
    return findings, 1 - float(held.mean())


def _of_inputs(compared: Comparison | None) -> list[Finding]:
    """All that can be said of a model without labels: rows of its example in another form."""
    if compared is None or not compared.differs:
        return []
    proven = compared.order is not None or compared.affine is not None
    said = (
        "are in another order than"
        if compared.order is not None
        else "are on another scale than"
        if compared.affine is not None
        else "do not look like"
    )
    return [
        Finding(
            "input-example",
            refuses=proven,
            message=f"data: the values of the samples {said} those of the version's input example",
            advice="give the inputs in the form that the version was trained with",
        )
    ]


def _unusable(said: str) -> Finding:
    return Finding(
        "outputs",
        refuses=True,
        message=f"data: {said}",
        advice="give the data and the task that the version was trained for",
    )


def _with_hints(findings: list[Finding], data: TrainingData) -> list[Finding]:
    """Says of a vague reason what else is odd."""
    still, width = constant_features(data.train.inputs), data.train.inputs[0].size
    if _MANY * still < width:
        return findings
    hint = f"; {still} of {width} features of the data are constant"
    return [
        replace(found, message=found.message + hint)
        if found.refuses and found.code in _VAGUE
        else found
        for found in findings
    ]


def _figures(rows: list[Row], data: TrainingData) -> dict[str, float]:
    figures = {"classes": float(data.classes)}
    for split, row in zip(("train", "validation"), rows, strict=True):
        figures |= {f"{split}_{name}": value for name, value in row.items() if value is not None}
    return figures
