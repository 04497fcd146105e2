"""What a weighted sum of signs is worth: an upper bound of its probability, in every dimension.

Signs that a key drew, independent and fair, are multiplied with weights that do not depend on
them. The sum is what is called a Rademacher sum, and these bounds hold for every choice of the
weights.
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["log10_sign_sum"]

# P(sum >= x) <= 1 / (4 Q(sqrt 2)) Q(x) for weights of norm 1, and no smaller factor will do:
# Bentkus and Dzindzalieta, 'A tight Gaussian bound for weighted sums of Rademacher random
# variables', Bernoulli 21 (2015), theorem 1.1.
_GAUSSIAN_FACTOR = 1 / (2 * math.erfc(1.0))
_HALVINGS = 100
_LARGEST = 1e9
# From here on the tail's expansion is exact to nine digits, and erfc is near where it ends.
_FAR = 30.0


def log10_sign_sum(weights: NDArray[np.float64], signs: NDArray[np.int8]) -> float:
    """An upper bound of log10 P(sum of weights * fair signs >= the sum with these signs).

    The smaller of two bounds: Chernoff's, from the exact moment generating function
    prod cosh(t w), which is sharp far out where nearly all signs agree; and a Gaussian one, which
    is sharp near the middle. Both are decreasing in the sum, so that the smaller is one as well,
    and P(bound <= p) <= p under the null.

    Args:
        weights: float64 [signs], finite; they must not depend on the signs.
        signs: [signs], each 1 or -1.

    Returns:
        Finite, at most 0.

    Raises:
        ValueError: A weight is not finite, or there are not as many as signs.

    Examples:
        >>> round(log10_sign_sum(np.ones(100), np.ones(100, dtype=np.int8)), 3)
        -30.103
        >>> log10_sign_sum(np.ones(2), np.array([1, -1], dtype=np.int8))
        0.0
    """
    if weights.shape != signs.shape or not np.isfinite(weights).all():
        raise ValueError("one finite weight for each sign is needed")
    largest = float(np.abs(weights).max(initial=0.0))
    if not largest:
        return 0.0
    scaled = weights.astype(np.float64) / largest
    total = float(scaled @ signs)
    if total <= 0:
        return 0.0
    gaussian = math.log(_GAUSSIAN_FACTOR) + _log_normal_tail(total / float(np.linalg.norm(scaled)))
    return min(0.0, gaussian, _log_chernoff(scaled * signs)) / math.log(10)


def _log_chernoff(terms: NDArray[np.float64]) -> float:
    """The minimum over t of sum (log cosh(t w) - t w s), for terms w s of a positive sum."""
    sizes, total = np.abs(terms), float(terms.sum())
    # Every t gives a bound: that the search stops somewhere costs nothing but sharpness.
    low, high = 0.0, 1.0
    while _slope(sizes, high) < total and high < _LARGEST:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(sizes, middle) < total:
            low = middle
        else:
            high = middle
    # log cosh x - x s where cosh x would overflow, and where the sum would cancel.
    exponents = high * sizes
    logarithms = np.log1p(np.exp(-2 * exponents)) + np.where(terms < 0, 2 * exponents, 0.0)
    return math.fsum(logarithms) - len(terms) * math.log(2)


def _slope(sizes: NDArray[np.float64], at: float) -> float:
    return float(sizes @ np.tanh(at * sizes))


def _log_normal_tail(deviations: float) -> float:
    """The logarithm of P(a standard normal value >= deviations), from above."""
    if deviations < _FAR:
        return math.log(math.erfc(deviations / math.sqrt(2)) / 2)
    # Mills: the density over the value is more than the tail.
    return -deviations * deviations / 2 - math.log(deviations * math.sqrt(2 * math.pi))
