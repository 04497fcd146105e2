"""Tests with an exact, or exactly bounded, rate of error."""

import math

__all__ = ["MATTERS", "RATE", "excess", "least_share", "more_often", "sign_test"]

RATE = 1e-6
"""Chance with which one check refuses data that fits."""
MATTERS = 0.03
"""Share of rows that have to be wrong before that refuses them.

It says how much of a proven fault is too much, never whether there is one: the tests decide that.
"""


def sign_test(wins: int, losses: int, chance: float = 0.5) -> float:
    """Chance of so many wins or more, each of them as likely as `chance` at most.

    Examples:
        >>> sign_test(20, 0) < 1e-6, sign_test(12, 8) < 0.05
        (True, False)
    """
    from scipy.stats import binom

    return float(binom.sf(wins - 1, wins + losses, chance))


def least_share(count: int, total: int, rate: float = 1e-3) -> float:
    """Lower bound of a share, wrong with a chance of at most `rate` (Clopper and Pearson).

    Examples:
        >>> 0.93 < least_share(100, 100) < 0.94
        True
    """
    from scipy.stats import beta

    return 0.0 if count <= 0 else float(beta.ppf(rate, count, total - count + 1))


def excess(count: int, expected: float) -> float:
    """Chance of so many independent events or more when `expected` are due (Chernoff).

    One more is taken to be due, so that a single event never counts.

    Examples:
        >>> excess(1, 1e-9), excess(40, 4.0) < 1e-6
        (1.0, True)
    """
    due = expected + 1
    if count <= due:
        return 1.0
    return math.exp(-(count * math.log(count / due) - count + due))


def more_often(first: int, of_first: int, second: int, of_second: int) -> float:
    """Chance that a share is so much greater than another by accident (Fisher's exact test).

    Examples:
        >>> more_often(150, 1500, 5, 400) < 1e-6, more_often(15, 150, 40, 400) < 0.1
        (True, False)
    """
    from scipy.stats import hypergeom

    total = of_first + of_second
    return float(hypergeom.sf(first - 1, total, first + second, of_first))
