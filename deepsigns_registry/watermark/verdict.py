"""What evidence is worth: a probability, and one of three words.

Needs neither torch nor numpy, so that a gate or a report can read verdicts anywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from deepsigns_registry.watermark.evidence import Evidence

__all__ = ["ABSENT_ABOVE", "PRESENT_AT", "Verdict", "judge"]

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
                    **evidence.figures(),
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
