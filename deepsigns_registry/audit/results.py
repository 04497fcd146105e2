"""The results table: one row for the deployed file and one for each planned attack."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from deepsigns_registry.audit.columns import Column, Reading

__all__ = ["DEPLOYED", "EXIT_CODES", "Outcome", "Row", "deployed_row"]

DEPLOYED = "deployed"
"""The label of the row that describes the deployed file itself."""

Outcome = Literal["present", "absent", "undecided", "could-not-check", "tampered"]
"""What an audit found about a deployed file; the first three are the words of a verdict."""

EXIT_CODES: Mapping[Outcome, int] = {
    "present": 0,
    "absent": 1,
    "undecided": 3,
    "could-not-check": 3,
    "tampered": 4,
}


@dataclass(frozen=True)
class Row:
    """One verified file: the deployed one, or what an attack made of it.

    Attributes:
        label: `deployed`, or the attack as it is written in the settings, `prune:0.5`.
        attack: Family of the attack, `prune`; `deployed` for the deployed file.
        strength: The attack's strength as a number; 0 for the deployed file.
        accuracy: Fraction of the owner's validation samples answered correctly, in [0, 1]. For a
            regressor R2, for an embedding model the mean cosine to what the deployed file gives,
            both at least 0.
        readings: What was read, one entry a scheme; without those that could not be read.
        verdict: `present`, `absent` or `undecided`; with an `error` always `undecided`.
        seconds: Wall time of the attack, the verification and the accuracy measurement.
        error: Why this row could not be completed, in one line; empty when it could.
        error_code: Stable code of the error, see `deepsigns_registry.errors`.
    """

    label: str
    attack: str
    strength: float
    accuracy: float | None = None
    readings: tuple[Reading, ...] = ()
    verdict: str = "undecided"
    seconds: float = 0.0
    error: str = ""
    error_code: str = ""

    def reading(self, scheme: str) -> Reading | None:
        """What this scheme read, if it could."""
        return next((entry for entry in self.readings if entry.scheme == scheme), None)

    def to_json(self, columns: Iterable[Column]) -> dict[str, Any]:
        """The row as a flat mapping of plain values.

        Args:
            columns: The schemes whose readings go into it, read or not.

        Examples:
            >>> Row("prune:0.5", "prune", 0.5).to_json([])["verdict"]
            'undecided'
        """
        fields: dict[str, Any] = {
            "label": self.label,
            "attack": self.attack,
            "strength": self.strength,
            "accuracy": self.accuracy,
        }
        for column in columns:
            fields |= column.fields(self.reading(column.scheme))
        return fields | {
            "verdict": self.verdict,
            "seconds": self.seconds,
            "error": self.error,
            "error_code": self.error_code,
        }

    def failed(self, message: str, code: str) -> "Row":
        """This row with an error, which takes any claim out of its verdict."""
        return replace(self, verdict="undecided", error=message, error_code=code)


def deployed_row(rows: Sequence[Row]) -> Row | None:
    """The row of the deployed file, if the audit came so far.

    Examples:
        >>> deployed_row([]) is None
        True
    """
    return next((row for row in rows if row.label == DEPLOYED), None)
