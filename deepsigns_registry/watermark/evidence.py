"""Evidence: what one scheme read from one suspect, and how likely that is without the key.

Two kinds of chance: matches of committed bits or queries are binomial; the correlation of weights
with a secret Gaussian pattern is normal. Needs neither torch nor numpy, so that a gate or a report
can read evidence anywhere.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

__all__ = ["Correlation", "Evidence", "Matches"]

# From here on the tail of the normal distribution is taken from its continued fraction, which
# needs fewer terms the larger the argument is: 60 give all digits.
_FAR, _TERMS = 5.0, 60


@dataclass(frozen=True)
class Evidence(ABC):
    """What one scheme read from one suspect.

    Attributes:
        scheme: Name of the scheme.
        trials: Number of committed bits, queries or values, all of them.
        level: How the suspect was read: `a` tap verified by value, `b` weight verified by
            its rows, `c` read after alignment to the unmarked parent, `oracle` outputs only,
            empty when what was read was not verified.
    """

    scheme: str
    trials: int
    level: str = field(default="", kw_only=True)

    @property
    @abstractmethod
    def log10_p(self) -> float:
        """log10 of the chance of as much without the key: exact, finite, at most 0."""

    @property
    @abstractmethod
    def score(self) -> float:
        """What was counted or measured, the more the stronger."""

    @property
    @abstractmethod
    def said(self) -> str:
        """The same for people: `118 of 128 match`."""

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """Everything that the chance is computed from, by name."""


@dataclass(frozen=True)
class Matches(Evidence):
    """Matches of bits or queries that the key has drawn.

    Attributes:
        matches: How many the suspect answered as the key says.
        chance: Highest probability of one match for a suspect that does not depend on the key.

    Examples:
        >>> Matches("whitebox", trials=128, matches=102, chance=0.5, level="a").errors
        26
        >>> round(Matches("whitebox", trials=128, matches=102, chance=0.5).log10_p, 1)
        -11.4
    """

    matches: int
    chance: float

    def __post_init__(self) -> None:
        if not 0 <= self.matches <= self.trials or not 0 < self.chance <= 1:
            raise ValueError(f"impossible evidence: {self}")

    @property
    def errors(self) -> int:
        """Bits or queries that do not match."""
        return self.trials - self.matches

    @property
    def log10_p(self) -> float:
        """log10 P(X >= matches) for X binomial (trials, chance)."""
        return _binomial_tail(self.trials, self.matches, self.chance)

    @property
    def score(self) -> float:
        """The matches."""
        return self.matches

    @property
    def said(self) -> str:
        """Matches of trials."""
        return f"{self.matches} of {self.trials} match"

    def figures(self) -> dict[str, float]:
        """Trials, matches, errors and chance."""
        return {
            "trials": self.trials,
            "matches": self.matches,
            "errors": self.errors,
            "chance": self.chance,
        }


@dataclass(frozen=True)
class Correlation(Evidence):
    """Correlation with a pattern that the key has drawn.

    Attributes:
        deviations: In standard deviations of what a suspect gives that does not depend on the
            key, which is standard normal.

    Examples:
        >>> found = Correlation("spread", trials=400_000, deviations=13.0, level="c")
        >>> round(found.log10_p, 1), found.said
        (-38.2, 'correlation of 13.0 standard deviations over 400000 values')
    """

    deviations: float

    def __post_init__(self) -> None:
        if self.trials < 1 or not math.isfinite(self.deviations):
            raise ValueError(f"impossible evidence: {self}")

    @property
    def log10_p(self) -> float:
        """log10 P(Z >= deviations) for Z standard normal."""
        return min(0.0, _normal_tail(self.deviations))

    @property
    def score(self) -> float:
        """The standard deviations."""
        return self.deviations

    @property
    def said(self) -> str:
        """Standard deviations over how many values."""
        return f"correlation of {self.deviations:.1f} standard deviations over {self.trials} values"

    def figures(self) -> dict[str, float]:
        """Trials and deviations."""
        return {"trials": self.trials, "deviations": self.deviations}


def _binomial_tail(trials: int, matches: int, chance: float) -> float:
    if matches == 0 or chance == 1:
        return 0.0
    log_success, log_failure = math.log(chance), math.log1p(-chance)
    terms = [
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * log_success
        + (trials - successes) * log_failure
        for successes in range(matches, trials + 1)
    ]
    # The largest term is taken out first: p itself underflows long before its logarithm does.
    largest = max(terms)
    total = math.fsum(math.exp(term - largest) for term in terms)
    return min(0.0, (largest + math.log(total)) / math.log(10))


def _normal_tail(deviations: float) -> float:
    """log10 of the upper tail; by Laplace's continued fraction of Mills' ratio far out."""
    if deviations < _FAR:
        return math.log10(math.erfc(deviations / math.sqrt(2)) / 2)
    below = deviations
    for term in range(_TERMS, 0, -1):
        below = deviations + term / below
    log_density = -deviations * deviations / 2 - math.log(2 * math.pi) / 2
    return (log_density - math.log(below)) / math.log(10)
