import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sigstore_models.bundle import v1 as sigstore_bundle

from deepsigns_registry.attestation.bundle import MODEL_BUNDLE, WATERMARK_BUNDLE
from deepsigns_registry.attestation.keys import load_private_key, public_pem
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.errors import CouldNotCheckError, NotFoundError

NewKey = Callable[[str], tuple[Path, Path]]


def _stock_verify(model: Path, public: Path) -> subprocess.CompletedProcess[str]:
    """OpenSSF's own command line, as a stranger would call it."""
    bundles = model / "deepsigns"
    return subprocess.run(
        [
            sys.executable, "-m", "model_signing", "verify", "key", str(model),
            "--signature", str(bundles / MODEL_BUNDLE), "--public_key", str(public),
            "--ignore-paths", str(bundles),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_stock_model_signing_tool_agrees(signed: Path, signer: FileSigner) -> None:
    public = signer.path.with_name("worker.pub.pem")
    good = _stock_verify(signed, public)
    assert good.returncode == 0, good.stderr
    (signed / "MLmodel").write_text("changed")
    assert _stock_verify(signed, public).returncode != 0


@pytest.mark.parametrize("name", [MODEL_BUNDLE, WATERMARK_BUNDLE])
def test_both_bundles_follow_the_sigstore_schema(signed: Path, name: str) -> None:
    text = (signed / "deepsigns" / name).read_text()
    bundle = sigstore_bundle.Bundle.from_json(text)
    assert bundle.media_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle.dsse_envelope is not None
    assert bundle.dsse_envelope.payload_type == "application/vnd.in-toto+json"


def test_no_path_of_this_machine_is_signed(signed: Path) -> None:
    for name in (MODEL_BUNDLE, WATERMARK_BUNDLE):
        text = (signed / "deepsigns" / name).read_text()
        bundle = sigstore_bundle.Bundle.from_json(text)
        assert bundle.dsse_envelope is not None
        assert str(signed.parent).encode() not in bundle.dsse_envelope.payload


def test_a_signer_shows_its_file_and_no_secret(signer: FileSigner) -> None:
    key = load_private_key(signer.path)
    secret = key.private_numbers().private_value
    shown = f"{signer!r} {signer}"
    assert "worker.pem" in shown
    assert f"{secret:x}" not in shown
    assert str(secret) not in shown
    assert signer.public_pem == public_pem(key.public_key())


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"worker\.pem: no such file"):
        FileSigner(tmp_path / "worker.pem")


def test_a_folder_with_a_link_is_not_signed(
    model: Path, signer: FileSigner, tmp_path: Path
) -> None:
    (model / "link").symlink_to("MLmodel")
    with pytest.raises(CouldNotCheckError, match="cannot be signed"):
        signer.sign_folder(model, tmp_path / "bundle.json")
    assert not (tmp_path / "bundle.json").exists()


def test_a_command_is_a_plain_dsse_envelope(signer: FileSigner) -> None:
    envelope = json.loads(signer.sign_command(b"{}"))
    assert set(envelope) == {"payload", "payloadType", "signatures"}
    assert envelope["payloadType"] == "application/vnd.deepsigns-registry.command+json"
