"""The worth of a weighted sum of signs: never less than its probability, and near it."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.watermark.evidence import Matches, SignSum
from deepsigns_registry.watermark.sign_sum import log10_sign_sum
from deepsigns_registry.watermark.verdict import judge

WEIGHTS = st.lists(
    st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 1.0, -1.0]),
    min_size=1,
    max_size=7,
)


@given(WEIGHTS)
def test_no_bound_is_below_the_exact_probability(weights: list[float]) -> None:
    values = np.array(weights)
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(values))), dtype=np.int8)
    # Exactly: a sum that is larger by a rounding error is another one.
    exactly = [Fraction(weight) for weight in weights]
    sums = [sum(a * int(b) for a, b in zip(exactly, row, strict=True)) for row in patterns]
    for signs, total in zip(patterns, sums, strict=True):
        exact = math.log10(sum(other >= total for other in sums) / len(sums))
        assert log10_sign_sum(values, signs) >= exact - 1e-9


@pytest.mark.parametrize("agreeing", [500, 560, 700, 999, 1000])
def test_equal_weights_are_nearly_as_sharp_as_the_binomial(agreeing: int) -> None:
    signs = np.where(np.arange(1000) < agreeing, 1, -1).astype(np.int8)
    bound = log10_sign_sum(np.full(1000, 0.1), signs)
    exact = Matches("cells", trials=1000, matches=agreeing, chance=0.5).log10_p
    assert exact - 1e-9 <= bound <= min(0.0, exact + 1.6)


def test_sums_far_beyond_the_range_of_a_float_are_finite() -> None:
    weights = np.abs(np.random.default_rng(0).normal(size=20_000))
    bound = log10_sign_sum(weights, np.ones(20_000, dtype=np.int8))
    # All signs agree: 2**-20000, but for weights too small to matter.
    assert -20_000 * math.log10(2) <= bound < -5_990


def test_what_speaks_against_a_mark_is_worth_nothing() -> None:
    signs = np.array([1, -1, -1], dtype=np.int8)
    assert log10_sign_sum(np.ones(3), signs) == 0
    assert log10_sign_sum(np.zeros(3), signs) == 0


@pytest.mark.parametrize("weights", [[1.0, math.nan], [math.inf, 1.0], [1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite weight for each sign"):
        log10_sign_sum(np.array(weights), np.array([1, 1], dtype=np.int8))


def test_chance_sums_are_as_rare_as_their_bounds_say() -> None:
    random = np.random.default_rng(1)
    weights = random.exponential(size=200)
    signs = random.choice(np.array([-1, 1], dtype=np.int8), size=(20_000, 200))
    found = np.array([log10_sign_sum(weights, row) for row in signs])
    for level in (-1.0, -2.0, -3.0):
        allowed = 20_000 * 10**level
        # An upper bound: never more often; and within a factor of twelve as often.
        assert allowed / 12 <= (found <= level).sum() <= allowed + 4 * math.sqrt(allowed)


def test_a_sum_of_signs_is_evidence_like_any_other() -> None:
    found = SignSum("cells", trials=840, matches=640, bound=-97.5)
    assert judge([found], tries=10).word == "present"
    assert judge([found], tries=10).log10_p_adjusted("cells") == -96.5
    for bound in (0.1, -math.inf, math.nan):
        with pytest.raises(ValueError, match="impossible evidence"):
            SignSum("cells", trials=840, matches=640, bound=bound)
