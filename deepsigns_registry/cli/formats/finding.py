"""What the gate found, whatever the form in which it is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from deepsigns_registry.errors import DeepSignsError

if TYPE_CHECKING:
    from deepsigns_registry.attestation.bundle import Attestation

__all__ = ["WORDS", "Finding"]

WORDS: Mapping[int, str] = {
    0: "allowed",
    1: "refused",
    2: "configuration",
    3: "could not check",
    4: "tampered",
}
"""What each exit code says, in a word."""


@dataclass(frozen=True)
class Finding:
    """An answer, or why there is none.

    Attributes:
        subject: What was asked about; empty when the command line did not say.
        headline: The answer in a word or two.
        exit_code: That of the command.
        code: Kind of the error; `allowed` without one.
        message: What is wrong and where.
        advice: What to do about it; may be empty.
        facts: What is known of the version: a name and a value each.
        ignored: Unsigned files that do not count -> why.
        answer: The same for machines; None when it ended in an error.
        settings: The settings file, as it was named.
    """

    subject: str
    headline: str = WORDS[0]
    exit_code: int = 0
    code: str = WORDS[0]
    message: str = ""
    advice: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None
    settings: str = "deepsigns.toml"

    @property
    def word(self) -> str:
        """The answer's kind, one for each exit code."""
        return WORDS.get(self.exit_code, WORDS[3])

    @property
    def allowed(self) -> bool:
        """Whether the answer is yes."""
        return self.exit_code == 0

    @classmethod
    def of_attestation(
        cls,
        subject: str,
        attestation: "Attestation",
        *,
        out: Path | None = None,
        settings: str = "deepsigns.toml",
    ) -> Self:
        """The answer yes.

        Args:
            subject: What was asked about.
            attestation: What its files say of themselves, verified.
            out: Where they were delivered to.
            settings: The settings file, as it was named.
        """
        predicate = attestation.predicate
        parent = f"{predicate.parent.name}/{predicate.parent.version}"
        return cls(
            subject,
            headline=f"fetched to {out}" if out else WORDS[0],
            facts={
                "owner": predicate.owner,
                "digest": attestation.combined_digest,
                "marked": f"{predicate.created_at:%Y-%m-%d %H:%M:%S %Z}, from {parent}",
            },
            ignored=dict(attestation.ignored),
            answer={
                "uri": subject,
                "verdict": WORDS[0],
                "out": str(out) if out else None,
                "digest": attestation.combined_digest,
                "ignored": dict(attestation.ignored),
                "predicate": predicate.model_dump(mode="json", by_alias=True),
            },
            settings=settings,
        )

    @classmethod
    def of_error(
        cls, subject: str, error: DeepSignsError, *, code: str = "", settings: str = ""
    ) -> Self:
        """Any other answer.

        Args:
            subject: What was asked about; may be empty.
            error: That the command ends with.
            code: Of the error, where it is not its class's.
            settings: The settings file, as it was named.

        Examples:
            >>> from deepsigns_registry.errors import TamperedError
            >>> found = Finding.of_error("fraud/7", TamperedError("fraud/7: model was changed"))
            >>> found.word, found.exit_code
            ('tampered', 4)
        """
        return cls(
            subject,
            headline=WORDS.get(error.exit_code, WORDS[3]),
            exit_code=error.exit_code,
            code=code or error.code,
            message=error.message,
            advice=error.advice,
            settings=settings or "deepsigns.toml",
        )
