"""What the tests of the evidence share: one marked model, and what is exported and signed of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation.chain import START, Entry, read_chain
from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import WATERMARK_PREDICATE
from deepsigns_registry.attestation.verification import verify_statement
from deepsigns_registry.evidence.claim import sign_claim
from deepsigns_registry.evidence.contents import Evidence
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.watermark.record import WatermarkRecord

BOTH = ("whitebox", "blackbox")


def chain_of(*secrets: tuple[str, Mapping[str, str]]) -> bytes:
    """The chain of commitments of these owners (hex), as a key store writes it."""
    previous, lines = START, []
    counts: Counter[str] = Counter()
    for number, (owner, commitments) in enumerate(secrets, start=1):
        counts[owner] += 1
        entry = Entry(number, owner, counts[owner], commitments, "2026-01-02", previous)
        previous = entry.digest
        lines.append(entry.line)
    return "".join(lines).encode()


def newest(chain: bytes) -> str:
    """Digest of the newest entry of a chain."""
    return read_chain(chain, "chain", advice="").head


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
    chain: bytes

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
        "signer": story.signer,
        "chains": [story.chain],
    }
    given |= changes
    given["suspect"] = sha256_file(given["suspect"])
    export_evidence(**given)
    return out


def claim_again(
    story: Story,
    evidence: Evidence,
    *,
    scanned: int = 1,
    commitments: Mapping[str, str] | None = None,
) -> Evidence:
    """Evidence that was changed, with a good claim about what it says now.

    Args:
        story: Whose signer signs.
        evidence: What is claimed.
        scanned: What is stated.
        commitments: The chain holds these instead of its own.
    """
    owner = story.record.root.owner.hex()
    chains = evidence.chains if commitments is None else (chain_of((owner, commitments)),)
    claim = sign_claim(
        story.signer,
        owner=owner,
        suspect=evidence.suspect,
        bundle=evidence.bundle,
        schemes=list(evidence.schemes),
        scanned=scanned,
        chains=chains,
    )
    return replace(evidence, claim=claim, chains=chains)
