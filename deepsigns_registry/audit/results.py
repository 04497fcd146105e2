"""The results table: one row for the deployed file and one for each planned attack."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

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
        whitebox_bits: Signature bits that were compared.
        whitebox_bit_errors: How many of them differ.
        whitebox_log10_p: log10 of the exact chance of that many matches without the key.
        whitebox_log10_p_adjusted: The same, adjusted for everything that was tried.
        blackbox_queries: Secret queries that were put.
        blackbox_matches: How many were answered with the secret label.
        blackbox_log10_p: As for the white box.
        blackbox_log10_p_adjusted: As for the white box.
        verdict: `present`, `absent` or `undecided`; with an `error` always `undecided`.
        seconds: Wall time of the attack, the verification and the accuracy measurement.
        error: Why this row could not be completed, in one line; empty when it could.
        error_code: Stable code of the error, see `deepsigns_registry.errors`.
    """

    label: str
    attack: str
    strength: float
    accuracy: float | None = None
    whitebox_bits: int | None = None
    whitebox_bit_errors: int | None = None
    whitebox_log10_p: float | None = None
    whitebox_log10_p_adjusted: float | None = None
    blackbox_queries: int | None = None
    blackbox_matches: int | None = None
    blackbox_log10_p: float | None = None
    blackbox_log10_p_adjusted: float | None = None
    verdict: str = "undecided"
    seconds: float = 0.0
    error: str = ""
    error_code: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row as a mapping of plain values, in the order of the attributes.

        Examples:
            >>> Row("prune:0.5", "prune", 0.5).to_json()["verdict"]
            'undecided'
        """
        return asdict(self)

    def failed(self, message: str, code: str) -> "Row":
        """This row with an error, which takes any claim out of its verdict."""
        return replace(self, verdict="undecided", error=message, error_code=code)


def deployed_row(rows: Sequence[Row]) -> Row | None:
    """The row of the deployed file, if the audit came so far."""
    return next((row for row in rows if row.label == DEPLOYED), None)
