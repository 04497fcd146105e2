from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deepsigns_registry.attestation.bundle import write_bundles
from deepsigns_registry.attestation.digests import digest_folder
from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    AuditPredicate,
    AuditRow,
    Fidelity,
    Parent,
    WatermarkPredicate,
    watermark_statement,
)

NewKey = Callable[[str], tuple[Path, Path]]


@pytest.fixture
def new_key(tmp_path: Path) -> NewKey:
    """Makes a named key pair: (private, public)."""

    def make(name: str) -> tuple[Path, Path]:
        pair = tmp_path / "keys" / f"{name}.pem", tmp_path / "keys" / f"{name}.pub.pem"
        generate_signing_key(*pair)
        return pair

    return make


@pytest.fixture
def signer(new_key: NewKey) -> FileSigner:
    return FileSigner(new_key("worker")[0])


@pytest.fixture
def policy(signer: FileSigner) -> Policy:
    public = signer.path.with_name("worker.pub.pem")
    return Policy.trusting([public], "watermark", "audit", "command")


@pytest.fixture
def predicate() -> WatermarkPredicate:
    return WatermarkPredicate(
        owner="0" * 64,
        marking="m1",
        request_id="r1",
        commitments={"blackbox": "1" * 64, "whitebox": "2" * 64},
        commitment_index=3,
        manifest_root="3" * 64,
        parent=Parent(name="fraud", version="7", digest="4" * 64),
        bits=128,
        queries=400,
        fidelity=Fidelity(
            parent_accuracy=0.98, marked_accuracy=0.975, drop=0.005, interval=(-0.01, 0.02)
        ),
        tool="deepsigns-registry/0.1.0",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


@pytest.fixture
def audit() -> AuditPredicate:
    return AuditPredicate(
        deployment="fraud-eu",
        target="s3://deployments/fraud/model.onnx",
        model="fraud",
        onnx_digest="5" * 64,
        verdict="present",
        rows=(
            AuditRow(attack="none", log10_p={"whitebox": -38.5}, accuracy=0.98, verdict="present"),
            AuditRow(attack="prune", strength=0.5, log10_p={"whitebox": -30.0}, verdict="present"),
        ),
        report_digest="6" * 64,
        passed=True,
        started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        finished_at=datetime(2026, 1, 2, 3, 9, 5, tzinfo=UTC),
        tool="deepsigns-registry/0.1.0",
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the shape of a stored MLflow model, not signed."""
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data" / "weights é.bin").write_bytes(bytes(range(256)))
    (folder / ".gitignore").write_text("")
    return folder


@pytest.fixture
def signed(model: Path, predicate: WatermarkPredicate, signer: FileSigner) -> Path:
    """The same folder with both bundles."""
    write_bundles(model, watermark_statement(digest_folder(model), predicate), signer)
    return model
