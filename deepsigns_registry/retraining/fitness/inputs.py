"""Whether the inputs are in the form that the parent knows: scale, sign, order, layout."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.changes import Change, possible_changes
from deepsigns_registry.retraining.fitness.contradictions import surer_than_right
from deepsigns_registry.retraining.fitness.exact import RATE, sign_test
from deepsigns_registry.retraining.fitness.example import Comparison
from deepsigns_registry.retraining.fitness.finding import Finding
from deepsigns_registry.retraining.fitness.seen import Answered, chosen_rows, log_shares
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["judge_inputs"]

_TRIED = 1_500
# A normal deviate that is exceeded once in a million times, even after some dozen tries.
_RARE = 5.3
_ADVICE = "give the inputs in the form that the version was trained with"


class _Fit(NamedTuple):
    """How well inputs fit: what went wrong, and the loss of each sample."""

    wrong: NDArray[np.bool_]
    loss: NDArray[np.float64]


def judge_inputs(
    model: TappedModel,
    seen: Answered,
    compared: Comparison | None,
    device: torch.device,
    *,
    classifies: bool,
) -> list[Finding]:
    """Refuses inputs in another form than the parent was trained with.

    A form is proven where undoing it at least halves the parent's errors, by a sign test over
    the same samples (of a regressor: the squared errors, by a paired test), at `exact.RATE` after
    all that was tried. Where the input example says the same (rows of it stand in the data in
    that form, or it is odd in the data and that much smaller), it is enough to halve the loss.
    Where no form is found, an input example that is not of this data is told only if the parent
    is wrong more often than it admits. Where a row of the example stands in the data as it is,
    the form is right.

    Args:
        model: The unmarked parent.
        seen: What it answers.
        compared: What the input example says, if there is one.
        device: Where the model runs.
        classifies: Whether the parent is a classifier.
    """
    if compared is not None and compared.found:
        return []
    rows = chosen_rows(len(seen.inputs), _TRIED)
    plain = _fit(seen.outputs[rows], seen.labels[rows], classifies=classifies)
    best: tuple[float, Change, _Fit] | None = None
    changes = possible_changes(seen.inputs[seen.train], compared)
    for change in changes:
        undone = np.ascontiguousarray(change.undo(seen.inputs[rows]), dtype=np.float32)
        outputs = run_batched(model, undone, device)[0].astype(np.float64)
        if not np.isfinite(outputs).all():
            continue
        outputs = log_shares(outputs) if classifies else outputs.reshape(len(rows), -1)
        tried = _fit(outputs, seen.labels[rows], classifies=classifies)
        rank = float(tried.wrong.sum()) if classifies else float(tried.loss.mean())
        if _explains(plain, tried, change, len(changes), classifies=classifies) and (
            best is None or rank < best[0]
        ):
            best = (rank, change, tried)
    if best is not None:
        return [_explained(best[1], plain, best[2], seen.labels[rows], classifies=classifies)]
    return _unlike(seen, compared, classifies=classifies)


def _fit(outputs: NDArray[np.float64], labels: NDArray[np.generic], *, classifies: bool) -> _Fit:
    if not classifies:
        squares = (outputs - labels.astype(np.float64)) ** 2
        return _Fit(np.zeros(len(labels), dtype=np.bool_), squares.mean(axis=1))
    classes = labels.astype(np.int64)
    loss = -outputs[np.arange(len(classes)), classes]
    return _Fit(np.asarray(outputs.argmax(axis=1) != classes, dtype=np.bool_), loss)


def _explains(plain: _Fit, tried: _Fit, change: Change, count: int, *, classifies: bool) -> bool:
    halved = 2 * tried.loss.mean() <= plain.loss.mean()
    if change.by_example and halved:
        return True
    if not classifies:
        gain = plain.loss - tried.loss
        # Few samples with great errors would make the gain look surer than it is.
        doubt = float(gain.std()) / len(gain) ** 0.5
        return bool(halved and gain.mean() > _RARE * max(doubt, 1e-30))
    wins = int((plain.wrong & ~tried.wrong).sum())
    losses = int((tried.wrong & ~plain.wrong).sum())
    fewer = 2 * tried.wrong.sum() <= plain.wrong.sum()
    return bool(fewer and count * sign_test(wins, losses) <= RATE)


def _explained(
    change: Change, plain: _Fit, tried: _Fit, labels: NDArray[np.generic], *, classifies: bool
) -> Finding:
    if classifies:
        score, before, after = "accuracy", 1 - plain.wrong.mean(), 1 - tried.wrong.mean()
    else:
        variance = float(labels.astype(np.float64).var(axis=0).mean()) or 1.0
        score = "R2"
        before, after = (1 - float(fit.loss.mean()) / variance for fit in (plain, tried))
    return Finding(
        "input-form",
        refuses=True,
        message=f"data: {change.said}: the parent's {score} is {before:.3f} on the inputs as "
        f"given and {after:.3f} when that is undone (log or squared error {plain.loss.mean():.3g} "
        f"and {tried.loss.mean():.3g})",
        advice=_ADVICE,
    )


def _unlike(seen: Answered, compared: Comparison | None, *, classifies: bool) -> list[Finding]:
    if compared is None or not compared.differs:
        return []
    said = "samples do not look like the version's input example"
    if compared.constant:
        said = f"{compared.constant} features are constant, and not so in the version's example"
    elif compared.affine is not None or compared.order is not None:
        said = possible_changes(seen.inputs[seen.train], compared)[0].said
    unsure = not classifies or not surer_than_right(
        seen.classes[seen.train], seen.outputs[seen.train]
    )
    wrong = (
        f", and the parent's accuracy of {seen.right.mean():.3f} is less than it claims"
        if not unsure
        else ""
    )
    return [Finding("input-example", not unsure, f"data: {said}{wrong}", _ADVICE)]
