"""Scores of an audit: by task, and against the deployed file where nothing else is known."""

import numpy as np
import pytest

from deepsigns_registry.audit.yardstick import Yardstick, score_of
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData, TrainingData

INPUTS = np.zeros((4, 2), np.float32)
NUMBERS = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
CLASSES = np.array([0, 1, 1, 0])
VECTORS = np.eye(4, dtype=np.float32)


def of(data: LabelledData) -> Yardstick:
    return Yardstick(TrainingData(data, data, 2))


def test_classes_are_compared_with_the_labels() -> None:
    answers = np.eye(2, dtype=np.float32)[[0, 1, 0, 0]]
    yardstick = of(LabelledData(INPUTS, CLASSES)).at(np.zeros((4, 2), np.float32))
    assert yardstick.score(answers) == 0.75
    assert score_of("classification") == "accuracy"


def test_vectors_are_compared_with_those_of_the_deployed_file() -> None:
    yardstick = of(LabelledData.without_labels(INPUTS)).at(VECTORS)
    assert yardstick.score(VECTORS) == pytest.approx(1.0)
    assert yardstick.score(-VECTORS) == 0.0


def test_numbers_are_never_scored_below_nothing() -> None:
    yardstick = of(LabelledData(INPUTS, NUMBERS[:, None])).at(NUMBERS[:, None])
    assert yardstick.score(NUMBERS[:, None]) == pytest.approx(1.0)
    assert yardstick.score(-NUMBERS[:, None]) == 0.0
    assert yardstick.score(np.full((4, 1), np.nan, np.float32)) == 0.0
    with pytest.raises(CouldNotCheckError, match="targets of shape"):
        yardstick.score(VECTORS)


def test_without_data_nothing_is_scored() -> None:
    yardstick = Yardstick(None, CouldNotCheckError("gone")).at(VECTORS)
    assert yardstick.targets is None
    with pytest.raises(CouldNotCheckError, match="nothing to compare"):
        yardstick.score(VECTORS)
