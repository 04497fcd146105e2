"""What a matrix is made of before it is compared with the pattern."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsigns_registry.watermark.spread.flatten import flattened


@settings(deadline=None)
@given(st.integers(8, 32), st.integers(8, 32), st.integers(0, 2**32 - 1))
def test_lengths_of_rows_and_columns_do_not_matter(rows: int, columns: int, seed: int) -> None:
    # Smaller ones need more rounds than the evening takes; of 6,000 drawn so the largest was 0.013.
    random = np.random.default_rng(seed)
    weight = random.normal(size=(rows, columns)).astype(np.float32)
    scaled = weight * random.uniform(0.5, 2, (rows, 1)) * random.uniform(0.5, 2, (1, columns))
    np.testing.assert_allclose(
        flattened(scaled.astype(np.float32)), flattened(weight), rtol=0.05, atol=0.05
    )


def test_no_direction_is_larger_than_the_median_of_all() -> None:
    random = np.random.default_rng(0)
    learned = 30 * np.outer(random.normal(size=40), random.normal(size=60))
    weight = (random.normal(size=(40, 60)) + learned).astype(np.float32)
    lengths = np.linalg.svd(flattened(weight), compute_uv=False)
    # Of an even number the median lies between two.
    assert lengths.max() <= 1.05 * np.median(lengths)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 1)])
def test_nothing_stays_nothing(shape: tuple[int, int]) -> None:
    assert not flattened(np.zeros(shape, np.float32)).any()
    weight = np.ones(shape, np.float32)
    weight[0] = 0
    assert not flattened(weight)[0].any()


def test_a_matrix_too_large_for_directions_is_evened_all_the_same() -> None:
    weight = np.random.default_rng(0).normal(size=(2049, 2050)).astype(np.float32)
    weight[0] *= 1000
    lengths = np.linalg.norm(flattened(weight), axis=1)
    assert lengths.max() <= 1.001 * lengths.min()
