"""What `cells` writes on: white features, orthogonal directions, shifts that change no answer."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.watermark.cells.carriers import (
    Whitening,
    contrasted_classes,
    contrasts,
    secret_directions,
    shift_sizes,
)

CELLS, NEURONS = 3, 20


@pytest.fixture
def activation() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(NEURONS, NEURONS)) * np.linspace(2, 0.1, NEURONS)
    return (random.normal(size=(1500, NEURONS)) @ mixing.T + 7).astype(np.float32)


@pytest.fixture
def cells() -> NDArray[np.int64]:
    return np.arange(1500, dtype=np.int64) % CELLS


def test_features_of_a_cell_are_white(
    activation: NDArray[np.float32], cells: NDArray[np.int64]
) -> None:
    features = Whitening.fit(activation, cells, 4).features(activation, cells)
    assert np.abs(features).max() <= 3
    for cell in range(CELLS):
        rows = features[cells == cell].astype(np.float64)
        assert np.abs(rows.mean(axis=0)).max() < 0.02
        # Clipping takes about a hundredth of the variance of a normal value.
        assert np.abs(rows.T @ rows / len(rows) - np.eye(4)).max() < 0.05


def test_a_cell_of_few_samples_has_no_features(activation: NDArray[np.float32]) -> None:
    cells = (np.arange(1500) < 15).astype(np.int64)
    features = Whitening.fit(activation, cells, 4).features(activation, cells)
    assert not features[:15].any()
    assert features[15:].any()


def test_a_fit_on_another_processor_is_kept_and_no_other(
    activation: NDArray[np.float32], cells: NDArray[np.int64]
) -> None:
    own = Whitening.fit(activation, cells, 4)
    rounded = Whitening(own.means, -own.maps * np.float32(1 + 1e-4))
    kept = Whitening.fit(activation, cells, 4, given=rounded)
    np.testing.assert_array_equal(kept.maps, rounded.maps)
    later = Whitening.fit(activation, cells, 8).maps[:, :, 4:]
    for invented in (own.maps * np.float32(1.1), later, own.maps[:, ::-1], own.maps * np.nan):
        again = Whitening.fit(activation, cells, 4, given=Whitening(own.means, invented))
        np.testing.assert_array_equal(again.maps, own.maps)


@pytest.mark.parametrize(
    ("classes", "width"), [(2, 2), (3, 2), (4, 2), (6, 4), (9, 8), (10, 8), (50, 8)]
)
def test_directions_are_contrasts_of_other_classes(classes: int, width: int) -> None:
    outputs = np.random.default_rng(0).normal(size=(4000, classes)).astype(np.float32)
    outputs += np.linspace(1, 0, classes, dtype=np.float32)
    chosen = contrasted_classes(outputs)
    assert chosen.shape == (classes, width)
    found = contrasts(chosen, classes)
    assert found.shape == (classes, width - 1, classes)
    np.testing.assert_allclose(found.sum(axis=2), 0, atol=1e-6)
    for kind in range(classes):
        np.testing.assert_allclose(found[kind] @ found[kind].T, np.eye(width - 1), atol=1e-6)
        if classes > 2:
            assert kind not in chosen[kind]


def test_an_order_that_rounding_may_turn_is_kept_and_no_other() -> None:
    outputs = np.tile(np.array([9, 3, 2.0001, 2, 1, 0], dtype=np.float32), (50, 1))
    assert contrasted_classes(outputs)[0].tolist() == [1, 2, 3, 4]
    for order, kept in (([1, 3, 2, 4], True), ([2, 1, 3, 4], False), ([1, 1, 2, 3], False)):
        given = np.tile(np.array(order), (6, 1))
        assert (contrasted_classes(outputs, given=given)[0].tolist() == order) is kept


def test_no_shift_of_one_deviation_changes_an_answer() -> None:
    outputs = np.random.default_rng(0).normal(0, 4, size=(2000, 10)).astype(np.float32)
    directions = contrasts(contrasted_classes(outputs), 10)
    sizes = shift_sizes(outputs, directions, 2.0, 0.5)
    predicted = outputs.argmax(axis=1)
    assert sizes.min() >= 0
    assert sizes.max() <= 2
    for direction in range(directions.shape[1]):
        moved = outputs + sizes[:, None] * directions[predicted, direction]
        assert (moved.argmax(axis=1) == predicted).all()


def test_directions_of_vectors_are_the_key_s() -> None:
    first, other = (secret_directions(bytes([value] * 32), 12) for value in (1, 2))
    np.testing.assert_allclose(first @ first.T, np.eye(7), atol=1e-5)
    assert np.abs(first @ other.T).max() < 0.99
    assert secret_directions(bytes(32), 3).shape == (3, 3)
