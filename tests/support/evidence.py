"""What the tests of the evidence share: one marked model."""

from dataclasses import dataclass
from pathlib import Path

from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.watermark.record import WatermarkRecord


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
