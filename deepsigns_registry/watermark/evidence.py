"""Evidence: what one scheme read from one suspect, and how likely that is without the key.

Three kinds of chance: matches of committed bits or queries are binomial; the correlation of weights
with a secret Gaussian pattern is normal; a weighted sum of secret signs has a bound. Needs neither
torch nor numpy, so that a gate or a report can read evidence anywhere.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

__all__ = ["Correlation", "Evidence", "Matches", "SignSum"]

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
    """Correlation of several parts, each with a pattern of its own that the key has drawn.

    A part that does not depend on the key gives a standard normal deviation. Positive ones are
    squared and added up: where only some parts still carry a mark, the others cost little. Of so
    many parts the sum has a mixture of chi-square distributions (the chi-bar-square of
    independent parts, Kudo 1963).

    Attributes:
        deviations: Square root of the sum of squares; of one part its deviation.
        parts: How many parts were read.

    Examples:
        >>> found = Correlation("spread", trials=400_000, deviations=13.0, parts=1, level="c")
        >>> round(found.log10_p, 1), found.said
        (-38.2, 'correlation of 13.0 standard deviations over 400000 values')
        >>> round(Correlation("spread", 400_000, 13.0, parts=6).log10_p, 1)
        -34.6
    """

    deviations: float
    parts: int

    def __post_init__(self) -> None:
        if self.trials < 1 or self.parts < 1 or not 0 <= self.deviations < math.inf:
            raise ValueError(f"impossible evidence: {self}")

    @property
    def log10_p(self) -> float:
        """log10 P(as much or more), for parts that do not depend on the key."""
        return min(0.0, _chi_bar_tail(self.deviations, self.parts))

    @property
    def score(self) -> float:
        """The deviations."""
        return self.deviations

    @property
    def said(self) -> str:
        """Standard deviations over how many values."""
        return f"correlation of {self.deviations:.1f} standard deviations over {self.trials} values"

    def figures(self) -> dict[str, float]:
        """Trials, deviations and parts."""
        return {"trials": self.trials, "deviations": self.deviations, "parts": self.parts}


@dataclass(frozen=True)
class SignSum(Evidence):
    """A weighted sum of signs that the key has drawn; see `sign_sum`.

    Attributes:
        matches: On the side of how many signs the suspect is.
        bound: Upper bound of log10 of the probability of such a sum for a suspect that does not
            depend on the key, at most 0.

    Examples:
        >>> found = SignSum("cells", trials=840, matches=640, bound=-97.5, level="oracle")
        >>> found.log10_p, found.said
        (-97.5, '640 of 840 signs agree')
    """

    matches: int
    bound: float

    def __post_init__(self) -> None:
        if not 0 <= self.matches <= self.trials or not -math.inf < self.bound <= 0:
            raise ValueError(f"impossible evidence: {self}")

    @property
    def log10_p(self) -> float:
        """The bound."""
        return self.bound

    @property
    def score(self) -> float:
        """The signs that agree."""
        return self.matches

    @property
    def said(self) -> str:
        """Agreeing signs of all."""
        return f"{self.matches} of {self.trials} signs agree"

    def figures(self) -> dict[str, float]:
        """Trials, matches and bound."""
        return {"trials": self.trials, "matches": self.matches, "bound": self.bound}


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


def _chi_bar_tail(deviations: float, parts: int) -> float:
    """log10 of the mixture over how many of the parts are positive, each of them as likely."""
    if deviations == 0:
        return 0.0
    half = deviations * deviations / 2
    # Tails of chi-square for 1 and 2 degrees of freedom; each two more add one term.
    tails = [math.log(2) + _log_normal_tail(deviations), -half]
    for freedom in range(3, parts + 1):
        power = freedom / 2 - 1
        term = power * math.log(half) - half - math.lgamma(power + 1)
        tails.append(_log_sum([tails[freedom - 3], term]))
    mixed = [
        math.lgamma(parts + 1)
        - math.lgamma(positive + 1)
        - math.lgamma(parts - positive + 1)
        - parts * math.log(2)
        + tails[positive - 1]
        for positive in range(1, parts + 1)
    ]
    return _log_sum(mixed) / math.log(10)


def _log_normal_tail(deviations: float) -> float:
    """By Laplace's continued fraction of Mills' ratio far out."""
    if deviations < _FAR:
        return math.log(math.erfc(deviations / math.sqrt(2)) / 2)
    below = deviations
    for term in range(_TERMS, 0, -1):
        below = deviations + term / below
    return -deviations * deviations / 2 - math.log(2 * math.pi) / 2 - math.log(below)


def _log_sum(logarithms: list[float]) -> float:
    largest = max(logarithms)
    return largest + math.log(math.fsum(math.exp(each - largest) for each in logarithms))
