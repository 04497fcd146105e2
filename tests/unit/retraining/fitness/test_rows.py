"""Copies by accident and copies by mistake."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.rows import copies, judge_amount, judge_copies
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.settings import MarkSettings

RNG = np.random.default_rng(0)


def data(
    train: NDArray[np.float64],
    validation: NDArray[np.float64],
    labels: NDArray[np.int64] | None = None,
) -> TrainingData:
    def split(rows: NDArray[np.float64]) -> LabelledData:
        return LabelledData(rows.astype(np.float32), np.arange(len(rows)) % 2)

    made = TrainingData(split(train), split(validation), 2)
    if labels is None:
        return made
    return TrainingData(LabelledData(made.train.inputs, labels), made.validation, 2)


def refused(made: TrainingData) -> list[str]:
    return [found.code for found in judge_copies(made) if found.refuses]


def test_rows_of_few_values_meet_by_chance() -> None:
    rows = RNG.integers(0, 3, (3000, 6)).astype(float)
    made = data(rows[:2000], rows[2000:])
    assert copies(made.validation.inputs, made.train.inputs).natural
    assert {found.code for found in judge_copies(made)} == {"duplicated-rows", "leaked-validation"}
    assert refused(made) == []


def test_rows_of_measured_values_do_not() -> None:
    rows = RNG.standard_normal((1000, 6))
    assert refused(data(rows[:800], rows[600:])) == ["leaked-validation"]
    assert refused(data(rows[:800], rows[790:])) == []
    assert refused(data(np.tile(rows[:200], (4, 1)), rows[800:])) == ["duplicated-rows"]


def test_balancing_the_rare_class_is_ordinary() -> None:
    rows = RNG.standard_normal((1000, 6))
    often, rare = rows[:900], np.tile(rows[900:950], (18, 1))
    labels = np.repeat([0, 1], 900)
    assert refused(data(np.concatenate([often, rare]), rows[950:], labels)) == []


def test_a_few_rows_more_than_once_are_no_reason() -> None:
    rows = RNG.standard_normal((1000, 6))
    made = data(np.concatenate([rows[:800], rows[:100]]), rows[800:])
    (found,) = judge_copies(made)
    assert not found.refuses
    assert "200" not in found.message
    assert "100 of 900" in found.message


def test_rows_that_stand_twice_count_once() -> None:
    rows = RNG.standard_normal((80, 6))
    options = MarkSettings(triggers_per_class=50)
    (found,) = judge_amount(data(np.tile(rows, (2, 1)), rows), options)
    assert found.refuses
    assert "80 different samples, 100 are needed" in found.message
    assert judge_amount(data(RNG.standard_normal((100, 6)), rows), options) == []


def test_negative_zero_is_zero() -> None:
    made = data(np.array([[0.0, 1.0]]), np.array([[-0.0, 1.0]]))
    assert copies(made.validation.inputs, made.train.inputs).number == 1


def test_the_rare_class_as_often_as_the_other_is_balancing_too() -> None:
    random = np.random.default_rng(0)
    common = random.normal(size=(2000, 8)).astype(np.float32)
    rare = np.repeat(random.normal(size=(100, 8)).astype(np.float32), 21, axis=0)
    inputs = np.concatenate([common, rare])
    labels = np.repeat([0, 1], [len(common), len(rare)])
    train = LabelledData(inputs, labels)
    held_out = LabelledData(random.normal(size=(100, 8)).astype(np.float32), np.arange(100) % 2)
    found = judge_copies(TrainingData(train, held_out, 2))
    assert [each.code for each in found] == ["duplicated-rows"]
    assert not found[0].refuses


@pytest.mark.parametrize(("flags", "share"), [(300, 0.003), (40, 0.02)])
def test_sparse_rows_meet_by_chance(flags: int, share: float) -> None:
    random = np.random.default_rng(0)
    inputs = (random.random((3200, flags)) < share).astype(np.float32)
    labels = np.arange(len(inputs)) % 2
    train, held_out = (
        LabelledData(inputs[rows], labels[rows]) for rows in (slice(0, 2400), slice(2400, None))
    )
    found = judge_copies(TrainingData(train, held_out, 2))
    assert not any(each.refuses for each in found)


def test_sparse_rows_that_were_copied_are_told_from_those_that_meet() -> None:
    random = np.random.default_rng(0)
    rows = (random.random((400, 300)) < 0.05).astype(np.float32)
    inputs = np.repeat(rows, 6, axis=0)
    labels = np.arange(len(inputs)) % 2
    held_out = LabelledData((random.random((100, 300)) < 0.05).astype(np.float32), labels[:100])
    found = judge_copies(TrainingData(LabelledData(inputs, labels), held_out, 2))
    assert [each.code for each in found if each.refuses] == ["duplicated-rows"]
