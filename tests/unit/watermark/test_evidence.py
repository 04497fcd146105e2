"""Evidence: two kinds of chance, against scipy where it can tell, and beyond."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepsigns_registry.watermark.evidence import Correlation, Matches


@given(st.floats(min_value=-8, max_value=300))
def test_the_tail_of_a_correlation_is_that_of_the_normal_distribution(deviations: float) -> None:
    found = Correlation("spread", 1000, deviations)
    expected = min(0.0, float(stats.norm.logsf(deviations)) / math.log(10))
    assert found.log10_p == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.5, 1 / 9]))
def test_the_tail_of_matches_is_that_of_the_binomial_distribution(
    trials: int, data: st.DataObject, chance: float
) -> None:
    matches = data.draw(st.integers(0, trials))
    found = Matches("blackbox", trials, matches, chance)
    expected = float(stats.binom.logsf(matches - 1, trials, chance)) / math.log(10)
    if expected > -300:
        assert found.log10_p == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_far_beyond_any_float_the_tail_is_finite() -> None:
    # log10 of exp(-z**2 / 2) / (z sqrt(2 pi)), the leading term.
    assert Correlation("spread", 1000, 1e4).log10_p == pytest.approx(-21714728.5, rel=1e-6)


@pytest.mark.parametrize("deviations", [math.nan, math.inf, -math.inf])
def test_a_correlation_is_a_number(deviations: float) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Correlation("spread", 10, deviations)


def test_evidence_says_what_it_is() -> None:
    matches = Matches("whitebox", 128, 118, 0.5, level="a")
    assert (matches.said, matches.score, matches.errors) == ("118 of 128 match", 118, 10)
    assert matches.figures() == {"trials": 128, "matches": 118, "errors": 10, "chance": 0.5}
    assert Correlation("spread", 10, 2.5).figures() == {"trials": 10, "deviations": 2.5}
