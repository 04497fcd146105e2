"""How far a marking is, what it has measured so far, and what was found in the owner's data.

A request carries all of it in its tag, so everybody who reads the registry may know it. A figure
is a number by its name: `whitebox_errors` of `whitebox_bits`, `blackbox_matches` of
`blackbox_queries`, the task's score under its own name, `step` and `seconds_left`. None of them
tells where the mark sits. Every text is bounded: the tag that holds them all takes 100,000
characters.
"""

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

__all__ = ["DataFinding", "DataJudgement", "Progress", "kept_figures", "plain", "spoken"]

MOST_FIGURES = 32
MOST_FINDINGS = 12
LONGEST_NAME, LONGEST_WORDS, LONGEST_TEXT = 60, 300, 1000

Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME)]
Words = Annotated[str, StringConstraints(max_length=LONGEST_WORDS)]
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
Figures = Annotated[dict[Name, FiniteFloat], Field(max_length=MOST_FIGURES)]

_PAIRS = (
    ("white box", "whitebox_errors", "whitebox_bits", "bits wrong"),
    ("black box", "blackbox_matches", "blackbox_queries", "queries match"),
)
_UNSPOKEN = {"step", "seconds_left"} | {name for _, *pair, _ in _PAIRS for name in pair}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Progress(_Record):
    """How far the work on a request is.

    Attributes:
        stage: What is being done, in a word or two.
        percent: How much of the whole work is done.
        seconds_left: Estimate for the rest; None while nobody knows.
        figures: What was measured last, by name.
        reason: Why an attempt ended or changed its way, the last time that one did.
        updated_at: Milliseconds since 1970 by the database's clock; the server sets it.
    """

    stage: Name = ""
    percent: float = Field(default=0.0, ge=0, le=100)
    seconds_left: Annotated[FiniteFloat, Field(ge=0)] | None = None
    figures: Figures = Field(default_factory=dict)
    reason: Text = ""
    updated_at: int = 0


class DataFinding(_Record):
    """One thing that was found in the data.

    Attributes:
        code: Its kind, for machines.
        refuses: Whether the data is refused for it.
        message: What was found, for people.
        advice: What to do about it; may be empty.
    """

    code: Name
    refuses: bool = False
    message: Words = ""
    advice: Words = ""


class DataJudgement(_Record):
    """Whether the owner's data belongs to the model, as it was judged before any training.

    Attributes:
        score: Of the unmarked model on the validation samples; None when it was not measured.
        score_name: What the score is called, such as `accuracy`.
        findings: What was found, the worst first.
        counts: How much there is, by name, such as `train` and `validation`.
    """

    score: FiniteFloat | None = None
    score_name: Name = ""
    findings: tuple[DataFinding, ...] = Field(default=(), max_length=MOST_FINDINGS)
    counts: Annotated[dict[Name, int], Field(max_length=MOST_FIGURES)] = Field(default_factory=dict)

    @property
    def fit(self) -> bool:
        """Whether nothing was found that refuses the data."""
        return not any(finding.refuses for finding in self.findings)

    def spoken(self) -> str:
        """The judgement in one line for people.

        Examples:
            >>> DataJudgement(score=0.98, score_name="accuracy", counts={"train": 90}).spoken()
            'fit, accuracy 0.9800 of the unmarked model, 90 train'
        """
        parts = ["fit" if self.fit else "unfit"]
        if self.score is not None:
            parts.append(f"{self.score_name or 'score'} {self.score:.4f} of the unmarked model")
        parts += [f"{count} {name}" for name, count in self.counts.items()]
        parts += [finding.message or finding.code for finding in self.findings[:1]]
        if len(self.findings) > 1:
            parts.append(f"and {len(self.findings) - 1} more findings")
        return ", ".join(parts)


def plain(text: str, longest: int) -> str:
    r"""A text on one line, without control characters, cut to a length.

    Examples:
        >>> plain("too\nlong", 5)
        'too l'
    """
    visible = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(visible.split())[:longest]


def kept_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures that a request can carry: finite numbers under short names.

    Examples:
        >>> kept_figures({"accuracy": 0.5, "loss": float("nan")})
        {'accuracy': 0.5}
    """
    finite = {
        plain(name, LONGEST_NAME): float(value)
        for name, value in figures.items()
        if math.isfinite(value)
    }
    return dict(list(finite.items())[:MOST_FIGURES])


def spoken(figures: Mapping[str, float]) -> str:
    """The evidence among the figures, in one line for people; empty when there is none.

    Examples:
        >>> spoken({"whitebox_errors": 3, "whitebox_bits": 128, "accuracy": 0.98333, "step": 40})
        'white box 3 of 128 bits wrong, accuracy 0.9833'
    """
    parts = [
        f"{scheme} {figures[count]:.0f} of {figures[whole]:.0f} {what}"
        for scheme, count, whole, what in _PAIRS
        if count in figures and whole in figures
    ]
    parts += [f"{name} {value:.4f}" for name, value in figures.items() if name not in _UNSPOKEN]
    return ", ".join(parts)
