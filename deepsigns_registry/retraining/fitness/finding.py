"""What was found in the data, and the judgement that follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from deepsigns_registry.errors import DataError
from deepsigns_registry.watermark.scheme import JSON

__all__ = ["Expectation", "Finding", "Judgement"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: Stable name of the kind, for machines.
        refuses: Whether the data must not be trained with.
        message: What is wrong, in one line; everybody may read it.
        advice: What to do about it, in one line.
    """

    code: str
    refuses: bool
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Expectation:
    """One sentence that Great Expectations judged.

    Attributes:
        about: The sentence.
        success: Whether it holds.
        observed: What was seen.
    """

    about: str
    success: bool
    observed: str


@dataclass(frozen=True)
class Judgement:
    """What is thought of the data.

    Attributes:
        findings: What was found; the most telling reason to refuse comes first.
        score: The parent's score on the validation samples; NaN where it was not asked.
        score_name: What the score is called, see `task.SCORES`.
        expectations: What Great Expectations judged.
        figures: Plain numbers: rows, classes, what the parent scores.
    """

    findings: tuple[Finding, ...]
    score: float
    score_name: str
    expectations: tuple[Expectation, ...] = ()
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def refusal(self) -> Finding | None:
        """The reason to refuse the data, if there is one."""
        return next((found for found in self.findings if found.refuses), None)

    def require(self) -> None:
        """Lets data pass that fits.

        Raises:
            DataError: It does not; with the first reason.
        """
        found = self.refusal
        if found is not None:
            raise DataError(found.message, advice=found.advice)

    def to_json(self) -> dict[str, JSON]:
        """The judgement as plain values; a score that was not asked for is None."""
        return {
            "fit": self.refusal is None,
            "score": _number(self.score),
            "score_name": self.score_name,
            "findings": [
                {"code": f.code, "refuses": f.refuses, "message": f.message, "advice": f.advice}
                for f in self.findings
            ],
            "expectations": [
                {"about": e.about, "success": e.success, "observed": e.observed}
                for e in self.expectations
            ],
            "figures": {name: _number(value) for name, value in self.figures.items()},
        }


def _number(value: float) -> float | None:
    # JSON knows neither NaN nor infinity.
    return float(value) if abs(value) < float("inf") else None
