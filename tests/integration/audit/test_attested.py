"""What the report says about the attestation of the exact file that is deployed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from deepsigns_registry.attestation.keystore import FileKeystore
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import Parent, watermark_statement
from deepsigns_registry.audit.attested import attestation_of
from deepsigns_registry.audit.run import run_audits
from deepsigns_registry.audit.verify import Examination, find_candidates, verify_onnx
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import TamperedError
from deepsigns_registry.registry.protocol import ATTESTATION_TAG
from tests.support.attested import watermark_predicate

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def database(home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry of its own with two versions of `digits`; the second is the marked one."""
    folder = tmp_path_factory.mktemp("registry")
    client = MlflowClient(uri := f"sqlite:///{folder / 'mlflow.db'}")
    client.create_registered_model("digits")
    for _ in range(2):
        client.create_model_version("digits", source=str(home))
    return uri


@pytest.fixture
def told(
    home: Path, database: str, audited: Callable[..., Settings]
) -> Callable[..., tuple[Settings, Examination]]:
    """Stores a signed bundle beside version 2 and reads the marked file."""

    def tell(
        *, key: str = "worker", digest: str | None = None, secret: str = ""
    ) -> tuple[Settings, Examination]:
        (marking,) = FileKeystore(home / "keystore").list_markings()
        predicate = watermark_predicate(
            owner=marking.owner,
            marking=marking.marking,
            commitments={"whitebox": secret} if secret else marking.commitments,
            parent=Parent(name="digits", version="1", digest="0" * 64),
        )
        files = {"model.onnx": digest or marking.onnx_digest, "MLmodel": "1" * 64}
        bundle = FileSigner(home / f"keys/{key}.pem").sign_statement(
            watermark_statement(files, predicate)
        )
        MlflowClient(database).set_model_version_tag("digits", "2", ATTESTATION_TAG, bundle)
        settings = audited(home / "marked.onnx", changes=('"sqlite:///mlflow.db"', f'"{database}"'))
        return settings, verify_onnx(home / "marked.onnx", find_candidates(settings, "digits"))

    return tell


Told = Callable[..., tuple[Settings, Examination]]


def test_good_attestation_is_said(told: Told) -> None:
    settings, examination = told()
    said = attestation_of(settings, examination, Policy.from_settings(settings))
    assert said == "This exact file is attested, with a good signature, as digits version 2."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "stranger"}, "not signed by a key that the policy trusts"),
        ({"digest": hashlib.sha256(b"other").hexdigest()}, "signed for other files"),
        ({"secret": "2" * 64}, "or another secret"),
    ],
)
def test_bad_attestation_is_tampering(told: Told, changes: dict[str, str], message: str) -> None:
    settings, examination = told(**changes)
    with pytest.raises(TamperedError, match=message):
        attestation_of(settings, examination, Policy.from_settings(settings))


def test_tampering_is_the_audits_answer_and_keeps_what_was_read(told: Told) -> None:
    settings, _ = told(key="stranger")
    result = run_audits(settings)
    finding = result.audits[0].finding
    assert finding.outcome == "tampered"
    assert [row.verdict for row in finding.rows] == ["present"]
    assert result.exit_code == 4


def test_missing_bundle_is_only_said(home: Path, database: str, told: Told) -> None:
    settings, examination = told()
    MlflowClient(database).delete_model_version_tag("digits", "2", ATTESTATION_TAG)
    said = attestation_of(settings, examination, Policy.from_settings(settings))
    assert "the registry shows no bundle" in said
    other = verify_onnx(home / "unmarked.onnx", find_candidates(settings, "digits"))
    said = attestation_of(settings, other, Policy.from_settings(settings))
    assert said == "This exact file is not one that was attested."
