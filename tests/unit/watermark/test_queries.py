"""Families of queries: by the key, inside the data's range, and what the default promises."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.watermark.queries import FAMILIES, Sources, make_queries

NUMBERS = np.arange(40)
KEY = bytes(range(32))


def samples(*shape: int, low: float = 0.0, high: float = 1.0) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return random.uniform(low, high, size=(30, *shape)).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(60,), (8, 9), (2, 7, 7)])
def test_queries_are_the_keys_and_in_range(family: str, shape: tuple[int, ...]) -> None:
    data = samples(*shape, low=-1.0, high=3.0)
    found = make_queries(family, KEY, NUMBERS, data)
    assert found.shape == (40, *shape)
    assert found.dtype == np.float32
    assert found.min() >= data.min()
    assert found.max() <= data.max()
    assert np.array_equal(found, make_queries(family, KEY, NUMBERS, data))
    # Each candidate by its own number, whichever are made beside it.
    assert np.array_equal(found[7:9], make_queries(family, KEY, NUMBERS[7:9], data))
    assert not np.array_equal(found, make_queries(family, bytes(32), NUMBERS, data))
    assert len(np.unique(found.reshape(40, -1), axis=0)) == 40


def test_salt_on_images_is_bright_features_on_nothing() -> None:
    """A tenth of 784 features: 78, standard deviation 8.4; the mean of 40 is within four of it."""
    found = make_queries("salt", KEY, NUMBERS, samples(1, 28, 28))
    assert set(np.unique(found.round(2))) == {0.0, 1.0}
    assert abs((found > 0.5).sum(axis=(1, 2, 3)).mean() - 78.4) < 4 * 8.4 / np.sqrt(40)


def test_salt_on_standardised_features_goes_both_ways() -> None:
    found = make_queries("salt", KEY, NUMBERS, samples(64, low=-2.0, high=2.0))
    salted = found[found != 0]
    # 16 of 64 features; either end by a fair coin: 640 coins, standard deviation 2 points.
    assert abs((salted > 0).mean() - 0.5) < 0.1
    assert abs(salted.size / found.size - 0.25) < 0.05
    data = samples(64, low=-2.0, high=2.0)
    ends = (found == data.min(axis=0)) | (found == data.max(axis=0))
    assert (ends | (found == 0)).all()


def test_salt_where_zero_is_outside_takes_the_nearest_end() -> None:
    found = make_queries("salt", KEY, NUMBERS, samples(64, low=5.0, high=6.0))
    quiet = found.min(axis=0)
    assert (quiet < 5.2).all()
    assert ((found == quiet) | (found > 5.8)).all()


def test_few_features_are_salted_enough_to_be_told_apart() -> None:
    found = make_queries("salt", KEY, NUMBERS, samples(20, low=-1.0))
    assert (found != 0).sum(axis=1).mean() == pytest.approx(10, abs=2)


def test_flipped_changes_a_tenth_of_a_sample() -> None:
    data = samples(400)
    found = make_queries("flipped", KEY, NUMBERS, data)
    changed = [min(int((query != sample).sum()) for sample in data) for query in found]
    assert 25 < np.mean(changed) < 55


def test_the_range_is_that_of_a_feature_a_sample_or_a_channel() -> None:
    flat = Sources.of(np.array([[0, 5], [1, 9]], dtype=np.float32))
    assert (flat.low.tolist(), flat.high.tolist()) == ([0, 5], [1, 9])
    image = Sources.of(np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2))
    assert image.low[:, 0, 0].tolist() == [0, 4]
    assert image.high[:, 1, 1].tolist() == [11, 15]
    tokens = Sources.of(np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    assert (tokens.low.min(), tokens.high.max()) == (0, 7)
    assert np.ptp(tokens.low) == 0


def test_a_family_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"named 'pepper'; use one of: salt, noise"):
        make_queries("pepper", KEY, NUMBERS, samples(4))
