"""What an input example says about the data, and what it does not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.changes import possible_changes
from deepsigns_registry.retraining.fitness.example import compare, looks_made_up, oddity

RNG = np.random.default_rng(0)
# Skewed, so that no one takes them for a generator's.
DATA = (RNG.exponential(size=(800, 12)) ** 2).astype(np.float32)
Floats = NDArray[np.float32]


def test_rows_of_the_data_are_found() -> None:
    compared = compare(DATA[:4], DATA)
    assert compared.found == 4
    assert not compared.differs


@pytest.mark.parametrize(
    ("factor", "offset", "said"),
    [
        (16, 0, "values are 16 times those of the input example"),
        (1, 5, "values are shifted by 5 against the input example's"),
        (-1, 1, "values are inverted"),
        (2, 3, "values are 2 times those of the input example, plus 3"),
    ],
)
def test_another_scale_is_measured(factor: float, offset: float, said: str) -> None:
    given = (factor * DATA + offset).astype(np.float32)
    compared = compare(DATA[:4], given)
    assert compared.differs
    change = possible_changes(given, compared)[0]
    assert said in change.said
    assert np.allclose(change.undo(given), DATA, atol=1e-3)


def test_another_order_is_found_and_undone() -> None:
    given = DATA[:, RNG.permutation(12)]
    compared = compare(DATA[:4], given)
    assert compared.order is not None
    (change, *_) = possible_changes(given, compared)
    assert np.array_equal(change.undo(given), DATA)


def test_lost_features_are_found_through_the_others() -> None:
    given = DATA.copy()
    given[:, :3] = 0
    compared = compare(DATA[:4], given)
    assert compared.partly
    assert compared.constant == 3


def test_other_rows_of_the_same_distribution_differ_at_the_stated_rate() -> None:
    chances = [
        oddity(DATA[i : i + 4], np.delete(DATA, range(i, i + 4), axis=0)) for i in range(0, 400, 4)
    ]
    assert min(chances) > 1e-4
    assert not compare(DATA[:4], DATA[4:]).differs


def test_rows_that_are_much_larger_are_odd() -> None:
    compared = compare((9 + DATA[:4]) ** 2, DATA[4:])
    assert compared.chance < 1e-6
    assert compared.differs


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((4, 12)),
        np.ones((1, 12)),
        RNG.standard_normal((4, 12)) * 40,
        RNG.random((8, 64)) * 255,
    ],
)
def test_numbers_that_somebody_made_up_say_nothing(rows: Floats) -> None:
    assert looks_made_up(rows.astype(np.float32))
    assert not looks_made_up(DATA[:4])


@pytest.mark.parametrize("shape", [(6,), (2, 6), (3, 4, 4), (4, 4, 3), (1, 5, 6), (2, 2, 2, 2)])
def test_every_change_keeps_the_shape(shape: tuple[int, ...]) -> None:
    inputs = RNG.standard_normal((7, *shape)).astype(np.float32)
    changes = possible_changes(inputs, None)
    assert len(changes) >= 7
    for change in changes:
        assert change.undo(inputs).shape == inputs.shape, change.said


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3)])
def test_a_layout_that_was_read_wrongly_is_read_again(shape: tuple[int, ...]) -> None:
    right = RNG.standard_normal((5, *shape)).astype(np.float32)
    if shape[0] == 3:
        given = np.ascontiguousarray(right.transpose(0, 2, 3, 1)).reshape(right.shape)
    else:
        given = np.ascontiguousarray(right.transpose(0, 3, 1, 2)).reshape(right.shape)
    undone = [change.undo(given) for change in possible_changes(given, None)]
    assert any(np.array_equal(one, right) for one in undone)


def test_several_rows_on_another_scale_are_proof_and_one_is_not() -> None:
    data = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    half = np.float32(0.5) * data
    assert compare(half[:4], data).proven
    assert not compare(half[:1], data).proven
    assert not compare(np.concatenate([half[:1], np.float32(1 / 3) * data[5:6]]), data).proven


def test_what_rounding_changes_is_no_other_scale() -> None:
    data = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    found = compare(data[:4] + np.float32(0.001), data)
    assert found.affine is None
    assert not found.differs
