"""The plugin's mark in a dispute: exported, checked by a third party, read from the file."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepsigns_registry.attestation.bundle import read_bundle
from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.errors import TamperedError
from deepsigns_registry.evidence.contents import parse, render
from deepsigns_registry.evidence.export import export_evidence
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.graph.export import export_onnx
from tests.support.attested import sign_folder
from tests.support.evidence import chain_of
from tests.support.matched import matched
from tests.unit.uchida.conftest import Joint


@pytest.fixture(scope="module")
def base(joint: Joint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, a signed folder with the marked file, and evidence that reveals the plugin's mark."""
    base = tmp_path_factory.mktemp("dispute")
    generate_signing_key(base / "worker.pem", base / "worker.pub.pem")
    (base / "model").mkdir()
    tap = export_onnx(joint.model, joint.data.train.inputs[:8], base / "model/model.onnx")
    record = joint.record.with_tap(tap)
    sign_folder(
        base / "model",
        FileSigner(base / "worker.pem"),
        owner=record.root.owner.hex(),
        commitments=record.commitments(),
        manifest_root=record.manifest.root,
        queries=100,
    )
    export_evidence(
        bundle=read_bundle(base / "model"),
        policy=Policy.trusting([base / "worker.pub.pem"], "watermark"),
        record=record,
        schemes=["uchida"],
        owner_public_key=joint.owner_key,
        suspect=sha256_file(base / "model/model.onnx"),
        out=base / "evidence.zip",
        signer=FileSigner(base / "worker.pem"),
        chains=[chain_of((record.root.owner.hex(), record.commitments()))],
    )
    return base


def test_a_third_party_sees_the_mark(base: Path) -> None:
    result = verify_evidence(
        base / "evidence.zip",
        base / "model/model.onnx",
        base / "worker.pub.pem",
        known_attestation=base / "model/deepsigns/watermark.sigstore.json",
    )
    assert result.verdict.word == "present"
    assert result.schemes == ("uchida",)
    (evidence,) = result.verdict.evidence
    assert (evidence.scheme, matched(evidence).errors) == ("uchida", 0)
    # The weight is only found with the tap, so each tensor of the file counts as a try.
    assert result.verdict.tries > 2


def test_another_mark_than_the_committed_one_is_tampering(base: Path) -> None:
    evidence = parse(base / "evidence.zip")
    revealed = evidence.schemes["uchida"]
    flipped = {**revealed.secret.arrays, "bits": 1 - revealed.secret.arrays["bits"]}
    secret = replace(revealed.secret, arrays=flipped)
    forged = replace(evidence, schemes={"uchida": replace(revealed, secret=secret)})
    (base / "forged.zip").write_bytes(render(forged))
    with pytest.raises(TamperedError, match="uchida: the secret is not the one committed to"):
        verify_evidence(base / "forged.zip", base / "model/model.onnx", base / "worker.pub.pem")
