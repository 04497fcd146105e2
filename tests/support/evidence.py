"""What the tests of the evidence share: one marked model, and what is exported and signed of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import WATERMARK_PREDICATE
from deepsigns_registry.attestation.verification import verify_statement
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.watermark.record import WatermarkRecord

BOTH = ("whitebox", "blackbox")


@dataclass(frozen=True)
class Story:
    """A marked model, its attestation and its secret."""

    base: Path
    record: WatermarkRecord
    bundle: str
    policy: Policy
    signer: FileSigner
    marked: Path
    unmarked: Path

    @property
    def owner_key(self) -> Path:
        return self.base / "owner.pub.pem"

    @property
    def signer_key(self) -> Path:
        return self.base / "worker.pub.pem"


def attest_changed(story: Story, **changes: Any) -> str:
    """A good signature of the same signer under other claims."""
    verified = verify_statement(story.bundle, story.policy, "watermark")
    return story.signer.sign_statement(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "a", "digest": {"sha256": "0" * 64}}],
            "predicateType": WATERMARK_PREDICATE,
            "predicate": verified.predicate | changes,
        }
    )


def export(story: Story, out: Path, **changes: Any) -> Path:
    """Evidence of the marked model that reveals both schemes, but for some arguments."""
    given: dict[str, Any] = {
        "bundle": story.bundle,
        "policy": story.policy,
        "record": story.record,
        "schemes": BOTH,
        "owner_public_key": story.owner_key,
        "suspect": story.marked,
        "out": out,
    }
    export_evidence(**(given | changes))
    return out
