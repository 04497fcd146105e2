"""A fault of one split is not hidden by the other one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.seen import Answered, log_shares
from deepsigns_registry.retraining.fitness.splits import (
    judge_each_split,
    judge_each_target,
    judge_validation,
)
from deepsigns_registry.watermark.data import LabelledData, TrainingData

CLASSES, TRAINING, VALIDATION = 5, 400, 100


def answered(right: float, *, rolled: str = "") -> Answered:
    """What a parent answers that is right so often, with the labels of one split off by a row."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, TRAINING + VALIDATION)
    train = np.arange(len(labels)) < TRAINING
    known = random.random(len(labels)) < right
    answers = np.where(known, labels, random.integers(0, CLASSES, len(labels)))
    outputs = log_shares(4 * np.eye(CLASSES)[answers])
    if rolled:
        rows = train if rolled == "train" else ~train
        labels[rows] = np.roll(labels[rows], 1)
    return Answered(np.zeros((len(labels), 1), np.float32), labels, train, outputs)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_labels_of_one_split_that_are_off_by_a_row_are_refused(split: str) -> None:
    (found,) = judge_each_split(answered(0.95, rolled=split))
    assert found.refuses
    assert found.message.startswith(f"{split}: the parent's accuracy on this data is 0.")
    assert "no better than chance" in found.message


@pytest.mark.parametrize("right", [0.4, 0.7, 1.0])
def test_a_parent_of_any_strength_knows_both_splits(right: float) -> None:
    assert not judge_each_split(answered(right))


def data(train: NDArray[np.float32], validation: NDArray[np.float32]) -> TrainingData:
    parts = [LabelledData(rows, np.arange(len(rows)) % 2) for rows in (train, validation)]
    return TrainingData(parts[0], parts[1], 2)


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(3, 1, (count, 6)).astype(np.float32)


def test_too_few_validation_samples_measure_nothing() -> None:
    (found,) = judge_validation(data(rows(200), np.repeat(rows(3, 1), 20, axis=0)))
    assert found.message.startswith("validation: the data has 3 different samples, 20 are needed")
    assert not judge_validation(data(rows(200), rows(20, 1)))


@pytest.mark.parametrize("factor", [1000.0, 0.01, 0.0])
def test_validation_samples_of_another_scale_are_refused(factor: float) -> None:
    scaled = np.float32(factor) * rows(50, 1)
    scaled[:, 0] += np.arange(50, dtype=np.float32) * np.float32(1e-6)
    (found,) = judge_validation(data(rows(200), scaled))
    assert (found.code, found.refuses) == ("splits-differ", True)


def test_splits_that_drift_are_taken() -> None:
    assert not judge_validation(data(rows(200), 2 * rows(50, 1) - 1))


def predicted(targets: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    return targets + noise * np.random.default_rng(1).normal(size=targets.shape)


def test_one_target_that_belongs_to_other_rows_is_refused() -> None:
    random = np.random.default_rng(0)
    targets = random.normal(size=(300, 3))
    train = np.arange(300) < 200
    outputs = predicted(targets, 0.3)
    assert not judge_each_target(outputs, targets, train)
    shuffled = targets.copy()
    shuffled[:, 1] = random.permutation(shuffled[:, 1])
    (found,) = judge_each_target(outputs, shuffled, train)
    assert found.message.startswith("train: the parent scores R2 -")
    assert "for target 1: it predicts these labels worse than their mean" in found.message


def test_targets_of_one_split_that_are_off_by_a_row_are_refused() -> None:
    targets = np.random.default_rng(0).normal(size=(300, 1))
    train = np.arange(300) < 200
    outputs = predicted(targets, 0.3)
    targets[~train] = np.roll(targets[~train], 1, axis=0)
    (found,) = judge_each_target(outputs, targets, train)
    assert found.message.startswith("validation: the parent scores R2 -")


def test_a_target_that_the_parent_cannot_tell_is_no_fault_of_the_data() -> None:
    """It then predicts about the mean, with a little noise."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        targets = random.normal(size=(300, 2))
        outputs = np.stack([targets[:, 0], 0.2 * random.normal(size=300)], axis=1)
        assert not judge_each_target(outputs, targets, np.arange(300) < 200)
