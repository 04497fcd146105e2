"""Rows that stand more than once: too few different ones, copies, and leaks across the splits."""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.exact import RATE, least_share, sign_test
from deepsigns_registry.retraining.fitness.finding import Finding
from deepsigns_registry.watermark.carriers import LEAST_GROUPS
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["Copies", "copies", "judge_amount", "judge_copies", "row_digests", "row_size"]

# So much of the validation may have been trained on before it no longer measures anything.
_LEAKED = 0.2
_COPIED = 0.5


class Copies(NamedTuple):
    """Rows that stand among other rows as well.

    Attributes:
        number: How many.
        natural: Whether so many equal rows are what such values give by themselves.
    """

    number: int
    natural: bool


def row_digests(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """One number a row, equal for equal rows: uint64 [rows].

    Examples:
        >>> first, second, third = row_digests(np.array([[1, 2], [1, 2], [2, 1]], np.float32))
        >>> first == second, first == third
        (np.True_, np.False_)
    """
    # Zero has two signs and one value.
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1) + np.float32(0))
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in flat)
    return np.frombuffer(digests, dtype=np.uint64)


def copies(rows: NDArray[np.float32], among: NDArray[np.float32]) -> Copies:
    """Counts the rows that stand among others, and asks whether chance puts them there.

    Rows of few values meet by chance. Then rows that agree in one half of the features are at
    least twice as frequent as rows that agree in both, whichever half it is. Copies agree in
    both halves or in neither. Or one value is so frequent, as in sparse rows, that rows meet as
    often, or half as often, when their halves are dealt out anew.

    Args:
        rows: float32 [rows, ...].
        among: float32 [others, ...].

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
        >>> copies(rows[:10], rows)[0]
        10
    """
    found = np.isin(row_digests(rows), row_digests(among))
    count = int(found.sum())
    flat, others = rows.reshape(len(rows), -1), among.reshape(len(among), -1)
    if not count or flat.shape[1] < 2:
        return Copies(count, natural=True)
    order = np.random.default_rng(0).permutation(flat.shape[1])
    halves = np.array_split(order, 2)
    natural = any(not _only_copies(flat, others, half) for half in halves)
    return Copies(count, natural or 2 * _met_anyway(flat, others, halves[0]) >= count)


def _met_anyway(
    rows: NDArray[np.float32], others: NDArray[np.float32], half: NDArray[np.int64]
) -> int:
    """How many rows stand among others with their halves dealt out anew: of sparse ones, most."""
    dealt = rows.copy()
    dealt[:, half] = rows[np.random.default_rng(1).permutation(len(rows))][:, half]
    return int(np.isin(row_digests(dealt), row_digests(others)).sum())


def _only_copies(
    rows: NDArray[np.float32], others: NDArray[np.float32], half: NDArray[np.int64]
) -> bool:
    keys, first = np.unique(row_digests(others[:, half]), return_index=True)
    mine = row_digests(rows[:, half])
    place = np.minimum(np.searchsorted(keys, mine), len(keys) - 1)
    meets = keys[place] == mine
    whole = (rows[meets] == others[first[place[meets]]]).all(axis=1)
    return sign_test(int(whole.sum()), int((~whole).sum())) <= RATE


def row_size(rows: NDArray[np.float32]) -> float:
    """Root mean square of the middle row: a few wild rows do not move it.

    Args:
        rows: float32 [rows, ...].

    Examples:
        >>> row_size(np.array([[3, 3], [1, 1], [1000, 0]], np.float32))
        3.0
    """
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return float(np.median(np.sqrt((flat**2).mean(axis=1))))


def judge_copies(data: TrainingData) -> list[Finding]:
    """Refuses copied training rows, and a validation set that was trained with.

    Args:
        data: Both splits.
    """
    classes = (
        data.train.labels.astype(np.int64)
        if data.task == "classification"
        else np.zeros(len(data.train), dtype=np.int64)
    )
    return [
        *_copied(data.train.inputs, classes),
        *_leaked(data.validation.inputs, data.train.inputs),
    ]


def judge_amount(data: TrainingData, options: MarkSettings) -> list[Finding]:
    """Refuses fewer different training samples than a mark needs.

    Args:
        data: Both splits.
        options: Says how many samples a group needs that carries bits.
    """
    found = len(np.unique(row_digests(data.train.inputs)))
    needed = LEAST_GROUPS * options.triggers_per_class
    if found >= needed:
        return []
    said = f"the data has {found} different samples, {needed} are needed"
    return [
        Finding(
            "too-few-samples",
            refuses=True,
            message=f"train: {said}",
            advice="give more training data; rows that stand twice count once",
        )
    ]


def _copied(inputs: NDArray[np.float32], classes: NDArray[np.int64]) -> list[Finding]:
    """Balancing copies the rare classes only, so that the one with most different rows is asked."""
    digests = row_digests(inputs)
    distinct = len(np.unique(digests))
    if distinct == len(digests):
        return []
    different = np.bincount(classes[np.unique(digests, return_index=True)[1]])
    rows = np.flatnonzero(classes == different.argmax())
    mixed = np.random.default_rng(0).permutation(rows)
    among = copies(inputs[mixed[::2]], inputs[mixed[1::2]])
    kept = len(np.unique(digests[rows])) / len(rows)
    refuses = not among.natural and kept < _COPIED
    return [
        Finding(
            "duplicated-rows",
            refuses=refuses,
            message=f"train: {len(digests) - distinct} of {len(digests)} samples of the data "
            "stand there more than once"
            + (f", and of the largest class only {kept:.0%} are different" if refuses else "")
            + (", as values of this kind do" if among.natural else ""),
            advice="give every row of the training data once",
        )
    ]


def _leaked(validation: NDArray[np.float32], train: NDArray[np.float32]) -> list[Finding]:
    shared = copies(validation, train)
    if not shared.number:
        return []
    share = least_share(shared.number, len(validation))
    refuses = not shared.natural and share > _LEAKED
    return [
        Finding(
            "leaked-validation",
            refuses=refuses,
            message=f"validation: {shared.number} of {len(validation)} samples of the data are "
            "training samples as well" + (", as values of this kind are" if shared.natural else ""),
            advice="validate with data that was not trained with, or the score means nothing",
        )
    ]
