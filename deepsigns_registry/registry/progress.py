"""How far a marking is, what it has measured so far, and what was found in the owner's data.

A request carries all of it in its tag, so everybody who reads the registry may know it. Every
text is bounded: the tag that holds them all takes 100,000 characters.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from deepsigns_registry.registry.figures import LONGEST_NAME, MOST_FIGURES

__all__ = ["DataFinding", "DataJudgement", "Milliseconds", "Progress"]

MOST_FINDINGS = 12
LONGEST_WORDS, LONGEST_TEXT = 300, 1000
# The end of the year 9999: no clock and no library goes further.
_LAST_MOMENT = 253_402_300_799_999

Milliseconds = Annotated[int, Field(ge=0, le=_LAST_MOMENT)]
"""Since 1970."""

Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME)]
Words = Annotated[str, StringConstraints(max_length=LONGEST_WORDS)]
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
Figures = Annotated[dict[Name, FiniteFloat], Field(max_length=MOST_FIGURES)]


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
        figures: Other numbers, by name: rows, classes, what the parent scores.
    """

    score: FiniteFloat | None = None
    score_name: Name = ""
    findings: tuple[DataFinding, ...] = Field(default=(), max_length=MOST_FINDINGS)
    figures: Figures = Field(default_factory=dict)

    @property
    def fit(self) -> bool:
        """Whether nothing was found that refuses the data."""
        return not any(finding.refuses for finding in self.findings)

    def spoken(self) -> str:
        """The judgement in one line for people.

        Examples:
            >>> DataJudgement(score=0.98, score_name="accuracy").spoken()
            'fit, accuracy 0.9800 of the unmarked model'
        """
        parts = ["fit" if self.fit else "unfit"]
        if self.score is not None:
            parts.append(f"{self.score_name or 'score'} {self.score:.4f} of the unmarked model")
        parts += [finding.message or finding.code for finding in self.findings[:1]]
        if len(self.findings) > 1:
            parts.append(f"and {len(self.findings) - 1} more findings")
        return ", ".join(parts)
