"""Whether the inputs are in the form that the parent knows: scale, sign, order, layout."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.changes import Change, possible_changes
from deepsigns_registry.retraining.fitness.contradictions import claims_too_much, surer_than_right
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
    """How well inputs fit.

    Attributes:
        wrong: Which samples of a classifier are answered otherwise than labelled.
        loss: Of each sample.
        best: Of each sample, with the outputs of a regressor in the unit that fits best.
    """

    wrong: NDArray[np.bool_]
    loss: NDArray[np.float64]
    best: NDArray[np.float64]


def judge_inputs(
    model: TappedModel,
    seen: Answered,
    compared: Comparison | None,
    device: torch.device,
    *,
    classifies: bool,
) -> list[Finding]:
    """Refuses inputs in another form than the parent was trained with.

    Where a row of the input example stands in the data as it is, the form is right. Where rows of
    it stand there in another form, it is enough that several do, or that undoing that halves the
    parent's loss. Else the parent has to be wrong more often than it admits (a regressor: no better
    than the mean of its targets), as one that was stopped early may like other inputs better than
    its own; and undoing a form has to halve its errors, by a sign test over the same samples (of a
    regressor: the squared errors, by a paired test), at `exact.RATE` after all that was tried.
    Samples that the example does not look like are refused of a classifier that is wrong more
    often than it admits, be it for a bias towards some classes alone.

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
    misfit = _is_misfit(seen, classifies=classifies)
    best: tuple[float, Change, _Fit] | None = None
    changes = possible_changes(seen.inputs[seen.train], compared)
    for change in changes:
        if not (misfit or change.by_example):
            continue
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
    doubted = classifies and claims_too_much(seen.classes[seen.train], seen.outputs[seen.train])
    return _unlike(seen, compared, misfit=doubted)


def _is_misfit(seen: Answered, *, classifies: bool) -> bool:
    """Whether the parent is wrong more often than it admits, or no better than the mean."""
    if classifies:
        return surer_than_right(seen.classes[seen.train], seen.outputs[seen.train])
    targets = seen.labels.astype(np.float64)
    return bool(((seen.outputs - targets) ** 2).mean() >= targets.var(axis=0).mean())


def _fit(outputs: NDArray[np.float64], labels: NDArray[np.generic], *, classifies: bool) -> _Fit:
    if not classifies:
        targets = labels.astype(np.float64)
        squares = ((outputs - targets) ** 2).mean(axis=1)
        best = ((_in_best_unit(outputs, targets) - targets) ** 2).mean(axis=1)
        return _Fit(np.zeros(len(labels), dtype=np.bool_), squares, best)
    classes = labels.astype(np.int64)
    loss = -outputs[np.arange(len(classes)), classes]
    return _Fit(np.asarray(outputs.argmax(axis=1) != classes, dtype=np.bool_), loss, loss)


def _in_best_unit(
    outputs: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    centred, wanted = outputs - outputs.mean(axis=0), targets - targets.mean(axis=0)
    squares = (centred**2).sum(axis=0)
    slope = (centred * wanted).sum(axis=0) / np.where(squares > 0, squares, 1)
    return np.asarray(slope * centred + targets.mean(axis=0), dtype=np.float64)


def _explains(plain: _Fit, tried: _Fit, change: Change, count: int, *, classifies: bool) -> bool:
    halved = 2 * tried.loss.mean() <= plain.loss.mean()
    if (change.by_example or change.likely) and halved:
        return True
    if not classifies:
        # Smaller inputs give smaller outputs, which may err less and know no more.
        gain = plain.best - tried.loss
        halved = 2 * tried.loss.mean() <= plain.best.mean()
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


def _unlike(seen: Answered, compared: Comparison | None, *, misfit: bool) -> list[Finding]:
    if compared is None or not compared.differs:
        return []
    said = "samples do not look like the version's input example"
    if compared.constant:
        said = f"{compared.constant} features are constant, and not so in the version's example"
    elif compared.affine is not None or compared.order is not None:
        said = possible_changes(seen.inputs[seen.train], compared)[0].said
    if misfit:
        said += f", and the parent's accuracy of {seen.right.mean():.3f} is less than it claims"
    return [Finding("input-example", misfit or compared.proven, f"data: {said}", _ADVICE)]
