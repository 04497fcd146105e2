"""Of the two forms that anybody can give a signature, one is written and one is accepted."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from deepsigns_registry.attestation.bundle import MODEL_BUNDLE, WATERMARK_BUNDLE, verify_folder
from deepsigns_registry.attestation.low_s import is_low_s, to_low_s
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import WatermarkPredicate, watermark_statement
from deepsigns_registry.attestation.verification import verify_command, verify_statement
from deepsigns_registry.errors import TamperedError
from tests.support.attested import ORDER, other_form, respelled

N = ORDER
GOLDEN = Path(__file__).parents[2] / "golden" / "attestation"


def signature_of(text: str) -> bytes:
    document = json.loads(text)
    return base64.b64decode(document.get("dsseEnvelope", document)["signatures"][0]["sig"])


@pytest.mark.parametrize("s", [1, 2, N // 2, N // 2 + 1, N - 2, N - 1])
def test_the_lower_value_is_taken(s: int) -> None:
    low = encode_dss_signature(7, min(s, N - s))
    assert to_low_s(encode_dss_signature(7, s)) == low
    assert is_low_s(low)
    assert not is_low_s(other_form(low))


@pytest.mark.parametrize("content", [b"", b"\x30\x00", b"no signature", bytes(70)])
def test_what_is_no_signature_has_no_form(content: bytes) -> None:
    assert not is_low_s(content)


def test_every_signature_is_written_low(
    model: Path, signer: FileSigner, predicate: WatermarkPredicate
) -> None:
    # Sixteen that are low by chance: 1 in 65,536.
    for number in range(16):
        assert is_low_s(signature_of(signer.sign_command(b"%d" % number)))
        statement = watermark_statement({"MLmodel": "a" * 64}, predicate)
        assert is_low_s(signature_of(signer.sign_statement(statement)))
        bundle = model.parent / f"{number}.json"
        signer.sign_folder(model, bundle)
        assert is_low_s(signature_of(bundle.read_text()))


@pytest.mark.parametrize("name", [WATERMARK_BUNDLE, MODEL_BUNDLE])
def test_a_bundle_that_somebody_without_the_key_respelled_is_tampering(
    signed: Path, policy: Policy, name: str
) -> None:
    path = signed / "deepsigns" / name
    verify_folder(signed, policy)
    path.write_text(respelled(path.read_text()))
    with pytest.raises(TamperedError, match="not in the form that it was written in"):
        verify_folder(signed, policy)


def test_a_copy_that_is_only_asked_what_was_signed_may_be_respelled(
    signed: Path, policy: Policy
) -> None:
    text = (signed / "deepsigns" / WATERMARK_BUNDLE).read_text()
    verified = verify_statement(respelled(text), policy, "watermark", either_form=True)
    assert verified == verify_statement(text, policy, "watermark")


@pytest.mark.parametrize("change", [str, respelled])
def test_statements_from_before_are_good_in_either_form(change: Callable[[str], str]) -> None:
    policy = Policy.trusting([GOLDEN / "signer.pub.pem"], "watermark", "audit")
    for name, purpose in (
        ("model/deepsigns/watermark.sigstore.json", "watermark"),
        ("audit.sigstore.json", "audit"),
    ):
        text = change((GOLDEN / name).read_text())
        verify_statement(text, policy, "audit" if purpose == "audit" else "watermark")


def test_a_respelled_command_is_the_same_command(signer: FileSigner, policy: Policy) -> None:
    envelope = signer.sign_command(b'{"id": "1"}')
    assert verify_command(respelled(envelope), policy) == verify_command(envelope, policy)
