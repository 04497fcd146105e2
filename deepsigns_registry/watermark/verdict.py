"""Evidence, and what it is worth: a probability, and one of three words.

Needs neither torch nor numpy, so that a gate or a report can read verdicts anywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ABSENT_ABOVE", "PRESENT_AT", "Evidence", "SignSum", "Verdict", "judge"]

PRESENT_AT = -6.0
ABSENT_ABOVE = -2.0

Word = Literal["present", "absent", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """What one scheme read from one suspect.

    Attributes:
        scheme: Name of the scheme.
        trials: Number of committed bits or queries, all of them.
        matches: How many the suspect answered as the key says.
        chance: Highest probability of one match for a suspect that does not depend on the key.
        level: How the suspect was read: `a` tap verified by value, `b` weight verified by
            its rows, `c` tap read after alignment to the unmarked parent, `oracle` outputs only,
            empty when the tap was not verified.

    Examples:
        >>> Evidence("whitebox", trials=128, matches=102, chance=0.5, level="a").errors
        26
        >>> round(Evidence("whitebox", trials=128, matches=102, chance=0.5).log10_p, 1)
        -11.4
    """

    scheme: str
    trials: int
    matches: int
    chance: float
    level: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.matches <= self.trials or not 0 < self.chance <= 1:
            raise ValueError(f"impossible evidence: {self}")

    @property
    def errors(self) -> int:
        """Bits or queries that do not match."""
        return self.trials - self.matches

    @property
    def log10_p(self) -> float:
        """log10 P(X >= matches) for X binomial (trials, chance): exact, finite, at most 0."""
        return _log10_upper_tail(self.trials, self.matches, self.chance)


@dataclass(frozen=True)
class SignSum(Evidence):
    """A weighted sum of signs that the key drew; see `sign_sum`.

    `trials` are all signs and `matches` those on whose side the suspect is, each with a chance of
    1/2: the binomial of both is valid as well and mostly less sharp.

    Attributes:
        bound: Upper bound of log10 of the probability of such a sum, at most 0.

    Examples:
        >>> SignSum("cells", trials=840, matches=640, chance=0.5, bound=-97.5).log10_p
        -97.5
    """

    bound: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -math.inf < self.bound <= 0:
            raise ValueError(f"impossible evidence: {self}")

    @property
    def log10_p(self) -> float:
        """The bound."""
        return self.bound


@dataclass(frozen=True)
class Verdict:
    """The answer about one suspect and one key.

    Attributes:
        word: `present`, `absent` (meaning not found, never *not ours*) or `undecided`.
        evidence: What each scheme read.
        tries: Everything that was tried: commitments of the owner x suspects x taps x
            alignments x schemes; at least 1.
        reasons: Why this word, one sentence each.
    """

    word: Word
    evidence: tuple[Evidence, ...]
    tries: int
    reasons: tuple[str, ...] = field(default=())

    def log10_p_adjusted(self, scheme: str) -> float:
        """log10 of the scheme's p-value times `tries` (Bonferroni), at most 0.

        Raises:
            KeyError: The scheme left no evidence.
        """
        for evidence in self.evidence:
            if evidence.scheme == scheme:
                return _adjusted(evidence, self.tries)
        raise KeyError(scheme)

    def to_json(self) -> dict[str, object]:
        """The verdict as plain values, for `--json`, reports and runs."""
        return {
            "verdict": self.word,
            "tries": self.tries,
            "reasons": list(self.reasons),
            "evidence": {
                evidence.scheme: {
                    "trials": evidence.trials,
                    "matches": evidence.matches,
                    "errors": evidence.errors,
                    "chance": evidence.chance,
                    "level": evidence.level,
                    "log10_p": evidence.log10_p,
                    "log10_p_adjusted": _adjusted(evidence, self.tries),
                }
                for evidence in self.evidence
            },
        }


def judge(evidence: Sequence[Evidence], *, tries: int, incomplete: Sequence[str] = ()) -> Verdict:
    """Turns evidence into a verdict.

    `present`: one scheme's adjusted p is at most 1e-6. `absent`: every scheme's adjusted p is
    above 1e-2 and every step ran. `undecided`: everything else.

    Args:
        evidence: At most one entry a scheme.
        tries: See `Verdict`.
        incomplete: Steps that could not run, such as a tap that was not found; while there is
            one the verdict is never `absent`.

    Raises:
        ValueError: `tries` is below 1.

    Examples:
        >>> chance = Evidence("whitebox", trials=128, matches=64, chance=0.5, level="a")
        >>> judge([chance], tries=1).word
        'absent'
        >>> judge([chance], tries=1, incomplete=["whitebox: tap not verified"]).word
        'undecided'
    """
    if tries < 1:
        raise ValueError(f"tries is {tries}: at least this one was tried")
    found = tuple(evidence)
    reasons = [
        f"{item.scheme}: {item.matches} of {item.trials} match, adjusted log10 p "
        f"{_adjusted(item, tries):.2f}"
        for item in found
    ]
    reasons += list(incomplete)
    best = min((_adjusted(item, tries) for item in found), default=0.0)
    word: Word
    if best <= PRESENT_AT:
        word = "present"
    elif best > ABSENT_ABOVE and found and not incomplete:
        word = "absent"
    else:
        word = "undecided"
    return Verdict(word, found, tries, tuple(reasons))


def _adjusted(evidence: Evidence, tries: int) -> float:
    return min(0.0, evidence.log10_p + math.log10(tries))


def _log10_upper_tail(trials: int, matches: int, chance: float) -> float:
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
