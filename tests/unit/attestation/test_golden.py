"""What was signed and sealed with an old release is still good."""

import shutil
from pathlib import Path

import pytest

from deepsigns_registry.attestation.bundle import verify_folder
from deepsigns_registry.attestation.commitment import CommitmentLog
from deepsigns_registry.attestation.keys import owner_identity
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.sealing import load_identity, unseal
from deepsigns_registry.attestation.statement import parse_audit
from deepsigns_registry.attestation.verification import verify_command, verify_statement

GOLDEN = Path(__file__).parents[2] / "golden" / "attestation"


@pytest.fixture
def policy() -> Policy:
    return Policy.trusting([GOLDEN / "signer.pub.pem"], "watermark", "audit", "command")


def test_the_signed_folder_verifies(policy: Policy) -> None:
    attestation = verify_folder(GOLDEN / "model", policy)
    predicate = attestation.predicate
    assert predicate.owner == owner_identity(GOLDEN / "signer.pub.pem").hex()
    assert predicate.parent.name == "fraud"
    assert predicate.commitment_index == 3
    assert predicate.fidelity.interval == (-0.004, 0.014)
    assert attestation.combined_digest == (
        "ceeeec494747e025679760b34771d9fb4f668ad9913f791b9ad823be5dd8a22e"
    )


def test_the_audit_verifies(policy: Policy) -> None:
    text = (GOLDEN / "audit.sigstore.json").read_text()
    verified = verify_statement(text, policy, "audit")
    audit = parse_audit(verified.predicate)
    assert audit.passed
    assert [row.attack for row in audit.rows] == ["none", "prune"]
    assert verified.subjects == {"model.onnx": "5" * 64, "report.html": "6" * 64}


def test_the_command_verifies(policy: Policy) -> None:
    text = (GOLDEN / "command.dsse.json").read_text()
    assert verify_command(text, policy) == b'{"command": "claim", "fence": 7}'


def test_the_sealed_secret_opens() -> None:
    context = {"owner": "0" * 64, "request": "r-0001"}
    sealed = (GOLDEN / "secret.age").read_bytes()
    assert unseal(sealed, load_identity(GOLDEN / "sealing.key"), context) == b"a secret of a test"


def test_the_chain_of_commitments_holds(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "commitments.jsonl", tmp_path)
    log = CommitmentLog(tmp_path / "commitments.jsonl")
    assert log.count(bytes(32)) == 3
    assert log.append(bytes(32), {"whitebox": "f" * 64}) == 4
