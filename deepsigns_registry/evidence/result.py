"""What checking an evidence file shows."""

from dataclasses import dataclass

from deepsigns_registry.attestation.statement import ClaimPredicate, WatermarkPredicate
from deepsigns_registry.evidence.price import Price
from deepsigns_registry.watermark.verdict import Verdict

__all__ = ["EvidenceResult", "Step"]


@dataclass(frozen=True)
class Step:
    """One step that passed.

    Attributes:
        name: What was checked.
        detail: What was found, in one sentence.
    """

    name: str
    detail: str


@dataclass(frozen=True)
class EvidenceResult:
    """What an evidence file shows.

    Attributes:
        verdict: The answer about the suspect.
        steps: Every check that passed, in order. A check that fails ends the verification.
        predicate: The signed statement about the marked model.
        owner: Identity of the owner (hex).
        schemes: What was revealed.
        price: What every p-value was multiplied by besides the ways of reading.
        claim: What the claimant states and signed; None in files of format v1.
    """

    verdict: Verdict
    steps: tuple[Step, ...]
    predicate: WatermarkPredicate
    owner: str
    schemes: tuple[str, ...]
    price: Price
    claim: ClaimPredicate | None = None

    def to_json(self) -> dict[str, object]:
        """The result as plain values."""
        return {
            **self.verdict.to_json(),
            "owner": self.owner,
            "schemes": list(self.schemes),
            "price": self.price.to_json(),
            "claim": self.claim.model_dump(mode="json", by_alias=True) if self.claim else None,
            "steps": [{"name": step.name, "detail": step.detail} for step in self.steps],
            "statement": self.predicate.model_dump(mode="json", by_alias=True),
        }
