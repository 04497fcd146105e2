"""What evidence is worth: a probability, and one of three words.

Needs neither torch nor numpy, so that a gate or a report can read verdicts anywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from deepsigns_registry.watermark.evidence import Evidence

__all__ = ["ABSENT_ABOVE", "PRESENT_AT", "Verdict", "joint_log10_p", "judge", "questions"]

PRESENT_AT = -6.0
ABSENT_ABOVE = -2.0

Word = Literal["present", "absent", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """The answer about one suspect and one key.

    Attributes:
        word: `present`, `absent` (meaning not found, never *not ours*) or `undecided`.
        evidence: What each scheme read.
        tries: Everything that was tried: commitments of the owner x suspects x taps x
            alignments x `questions` of the schemes; at least 1.
        reasons: Why this word, one sentence each.
        log10_p_joint: Of all schemes together, adjusted like each of them; None when only one
            left evidence. See `joint_log10_p`.
    """

    word: Word
    evidence: tuple[Evidence, ...]
    tries: int
    reasons: tuple[str, ...] = field(default=())
    log10_p_joint: float | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """The reasons that do not repeat the evidence: steps that could not run."""
        return self.reasons[len(self.evidence) + (self.log10_p_joint is not None) :]

    @property
    def strongest(self) -> float:
        """The smallest adjusted log10 p, of one scheme or of all together; 0 without evidence."""
        joint = [] if self.log10_p_joint is None else [self.log10_p_joint]
        found: list[float] = [_adjusted(item, self.tries) for item in self.evidence]
        return min([0.0, *joint, *found])

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
            "log10_p_joint": self.log10_p_joint,
            "evidence": {
                evidence.scheme: {
                    **evidence.figures(),
                    "level": evidence.level,
                    "log10_p": evidence.log10_p,
                    "log10_p_adjusted": _adjusted(evidence, self.tries),
                }
                for evidence in self.evidence
            },
        }


def questions(schemes: int) -> int:
    """In how many ways a verdict is looked for: by each scheme, and by several together.

    Examples:
        >>> questions(1), questions(3)
        (1, 4)
    """
    return schemes + (schemes > 1)


def joint_log10_p(log10_p: Sequence[float]) -> float:
    """log10 p of independent p-values taken together, by Fisher's method (1925).

    Each scheme's evidence is drawn by a subkey of its own, so that for a model which depends on
    none of them the p-values are independent, and each is at least as large as a uniform one:
    minus twice the sum of their logarithms is at most a chi-square of two degrees of freedom each.
    Weak traces in several schemes add up.

    Args:
        log10_p: One a scheme, each at most 0.

    Examples:
        >>> round(joint_log10_p([-4.0, -4.0, -4.0]), 1)
        -9.4
    """
    total = -math.log(10) * math.fsum(log10_p)
    terms = [total**power / math.factorial(power) for power in range(len(log10_p))]
    return min(0.0, (-total + math.log(math.fsum(terms))) / math.log(10))


def judge(
    evidence: Sequence[Evidence],
    *,
    tries: int,
    ways: int = 1,
    incomplete: Sequence[str] = (),
    together: bool = True,
) -> Verdict:
    """Turns evidence into a verdict.

    `present`: one scheme's adjusted p is at most 1e-6, or that of all schemes together. `absent`:
    all of these are above 1e-2 and every step ran. `undecided`: everything else.

    Args:
        evidence: At most one entry a scheme.
        tries: See `Verdict`.
        ways: How many of the tries are ways of reading, of which each scheme gives its strongest.
        incomplete: Steps that could not run, such as a tap that was not found; while there is
            one the verdict is never `absent`.
        together: Whether all schemes together are asked as well. Not where somebody chose which
            of a record's schemes are shown: `questions` counts all of them as one, and not every
            choice.

    Raises:
        ValueError: `tries` is below 1.

    Examples:
        >>> from deepsigns_registry.watermark.evidence import Matches
        >>> chance = Matches("whitebox", trials=128, matches=64, chance=0.5, level="a")
        >>> judge([chance], tries=1).word
        'absent'
        >>> judge([chance], tries=1, incomplete=["whitebox: tap not verified"]).word
        'undecided'
    """
    if tries < 1:
        raise ValueError(f"tries is {tries}: at least this one was tried")
    found = tuple(evidence)
    reasons = [
        f"{item.scheme}: {item.said}, adjusted log10 p {_adjusted(item, tries):.2f}"
        for item in found
    ]
    joint = None
    if together and len(found) > 1:
        each = [min(0.0, item.log10_p + math.log10(ways)) for item in found]
        joint = min(0.0, joint_log10_p(each) + math.log10(tries / ways))
        reasons.append(f"all schemes together: adjusted log10 p {joint:.2f}")
    reasons += list(incomplete)
    best = Verdict("undecided", found, tries, log10_p_joint=joint).strongest
    word: Word
    if best <= PRESENT_AT:
        word = "present"
    elif best > ABSENT_ABOVE and found and not incomplete:
        word = "absent"
    else:
        word = "undecided"
    return Verdict(word, found, tries, tuple(reasons), joint)


def _adjusted(evidence: Evidence, tries: int) -> float:
    return min(0.0, evidence.log10_p + math.log10(tries))
