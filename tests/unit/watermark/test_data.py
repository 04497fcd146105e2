"""Data of each task: what is accepted, and one clear line for what is not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.errors import DataError
from deepsigns_registry.watermark.data import LabelledData, TrainingData

INPUTS = np.arange(12, dtype=np.float32).reshape(6, 2)


def regression(targets: NDArray[np.float32], outputs: int = 1) -> TrainingData:
    part = LabelledData(INPUTS, targets)
    return TrainingData(part, part, outputs)


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32).reshape(-1, 1)


def test_the_labels_say_the_task() -> None:
    assert LabelledData(INPUTS, np.arange(6)).task == "classification"
    assert regression(column(*range(6))).task == "regression"
    unlabelled = LabelledData.without_labels(INPUTS)
    vectors = TrainingData(unlabelled, unlabelled, 8)
    assert vectors.task == "embedding"
    assert len(vectors.train) == 6
    assert vectors.validated() is vectors


def test_a_regressor_needs_one_number_for_each_output() -> None:
    good = regression(column(*range(6)))
    assert good.validated() is good
    with pytest.raises(DataError, match=r"targets of shape \(6, 1\) for a model of 2 outputs"):
        regression(column(*range(6)), outputs=2).validated()
    with pytest.raises(DataError, match=r"targets of shape \(6,\) for a model of 1"):
        regression(np.arange(6, dtype=np.float32)).validated()
    with pytest.raises(DataError, match=r"6 samples but targets of shape \(5, 1\)"):
        regression(column(*range(5))).validated()


def test_targets_must_be_finite_and_must_vary() -> None:
    with pytest.raises(DataError, match="the target of sample 2 holds NaN or infinity"):
        regression(column(0, 1, np.nan, 3, 4, 5)).validated()
    with pytest.raises(DataError, match="train: target 0 is the same for every sample"):
        regression(column(*[7] * 6)).validated()


def test_both_splits_are_for_one_task() -> None:
    good = regression(column(*range(6)))
    with pytest.raises(DataError, match="train labels are for regression, validation labels for"):
        replace(good, validation=LabelledData(INPUTS, np.zeros(6, np.int64))).validated()
