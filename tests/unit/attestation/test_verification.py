import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from deepsigns_registry.attestation.keys import key_hint, load_private_key, load_public_key
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    WATERMARK_PREDICATE,
    AuditPredicate,
    WatermarkPredicate,
    audit_statement,
    parse_watermark,
    watermark_statement,
)
from deepsigns_registry.attestation.verification import verify_command, verify_statement
from deepsigns_registry.errors import ConfigurationError, TamperedError

NewKey = Callable[[str], tuple[Path, Path]]
DIGESTS = {"MLmodel": "a" * 64}


@pytest.fixture
def bundle(signer: FileSigner, predicate: WatermarkPredicate) -> str:
    return signer.sign_statement(watermark_statement(DIGESTS, predicate))


def _sign(signer: FileSigner, payload: bytes, payload_type: str) -> str:
    """A bundle around any payload, made with securesystemslib alone."""
    key = load_private_key(signer.path)
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(key))
    content = envelope.to_dict()
    content["signatures"] = [{"sig": content["signatures"][0]["sig"], "keyid": ""}]
    document = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": key_hint(key.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": content,
    }
    return json.dumps(document, separators=(",", ":"))


def _edit(bundle: str, change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(bundle)
    change(document)
    return json.dumps(document, separators=(",", ":"))


def test_a_good_bundle_gives_what_was_signed(
    bundle: str, policy: Policy, predicate: WatermarkPredicate
) -> None:
    verified = verify_statement(bundle, policy, "watermark")
    assert verified.subjects == DIGESTS
    assert parse_watermark(verified.predicate) == predicate
    assert verified.key == policy.keys_for("watermark")[0]


def test_an_empty_policy_is_no_policy(bundle: str) -> None:
    with pytest.raises(ConfigurationError, match="trusts nobody"):
        verify_statement(bundle, Policy(), "watermark")
    with pytest.raises(ConfigurationError, match="trusts nobody"):
        verify_command("{}", Policy())


def test_a_stranger_is_not_believed(bundle: str, new_key: NewKey) -> None:
    policy = Policy.trusting([new_key("other")[1]], "watermark")
    with pytest.raises(TamperedError, match="not signed by a key that the policy trusts"):
        verify_statement(bundle, policy, "watermark")


def test_a_strangers_bundle_with_a_borrowed_hint_is_not_believed(
    bundle: str, signer: FileSigner, new_key: NewKey, policy: Policy, predicate: WatermarkPredicate
) -> None:
    forged = FileSigner(new_key("thief")[0]).sign_statement(watermark_statement(DIGESTS, predicate))
    hint = json.loads(bundle)["verificationMaterial"]["publicKey"]["hint"]
    assert hint == signer.hint

    def borrow(document: dict[str, Any]) -> None:
        document["verificationMaterial"]["publicKey"]["hint"] = hint

    with pytest.raises(TamperedError, match="not signed by a key that the policy trusts"):
        verify_statement(_edit(forged, borrow), policy, "watermark")


def test_the_hint_does_not_choose_the_key(bundle: str, signer: FileSigner, new_key: NewKey) -> None:
    other = new_key("other")[1]
    policy = Policy.trusting([other, signer.path.with_name("worker.pub.pem")], "watermark")
    assert verify_statement(bundle, policy, "watermark").key != load_public_key(other)


def test_a_wrong_hint_on_a_good_signature_is_tampering(bundle: str, policy: Policy) -> None:
    def change(document: dict[str, Any]) -> None:
        document["verificationMaterial"]["publicKey"]["hint"] = "0" * 64

    with pytest.raises(TamperedError, match="key hint"):
        verify_statement(_edit(bundle, change), policy, "watermark")


def test_a_key_for_audits_cannot_sign_watermarks(bundle: str, signer: FileSigner) -> None:
    public = signer.path.with_name("worker.pub.pem")
    with pytest.raises(ConfigurationError, match="trusts nobody to sign 'watermark'"):
        verify_statement(bundle, Policy.trusting([public], "audit"), "watermark")


def test_an_audit_does_not_pass_for_a_watermark(
    signer: FileSigner, policy: Policy, audit: AuditPredicate
) -> None:
    bundle = signer.sign_statement(audit_statement(DIGESTS, audit))
    verify_statement(bundle, policy, "audit")
    with pytest.raises(TamperedError, match="predicate type is not"):
        verify_statement(bundle, policy, "watermark")


def test_commands_are_no_statements(bundle: str, policy: Policy) -> None:
    with pytest.raises(ConfigurationError, match="statements are signed for another"):
        verify_statement(bundle, policy, "command")


def test_the_payload_type_is_compared_before_parsing(signer: FileSigner, policy: Policy) -> None:
    bundle = _sign(signer, b"\x00 not JSON", "application/octet-stream")
    with pytest.raises(TamperedError, match="payload type is not"):
        verify_statement(bundle, policy, "watermark")


def test_the_signature_is_compared_before_the_payload_type(
    signer: FileSigner, new_key: NewKey
) -> None:
    bundle = _sign(signer, b"\x00 not JSON", "application/octet-stream")
    policy = Policy.trusting([new_key("other")[1]], "watermark")
    with pytest.raises(TamperedError, match="not signed by"):
        verify_statement(bundle, policy, "watermark")


GOOD: dict[str, Any] = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "a", "digest": {"sha256": "0" * 64}}],
    "predicateType": WATERMARK_PREDICATE,
    "predicate": {"a": 1},
}


WRONG: list[dict[str, Any]] = [
    {"_type": "https://in-toto.io/Statement/v0.1"},
    {"_type": None},
    {"subject": []},
    {"subject": None},
    {"subject": [{"name": "a"}]},
    {"subject": ["a"]},
    {"predicate": {}},
    {"predicate": None},
    {"predicate": [1]},
    {"predicateType": None},
    {"predicateType": 1},
]
PAYLOADS = [b"", b"[]", b"null", b"\xff", b"[" * 100_000]


def test_protobufs_own_spelling_of_a_field_is_not_accepted(
    signer: FileSigner, policy: Policy
) -> None:
    # Protobuf's JSON parser also knows `_type` as `type`; in-toto does not.
    spelled = {("type" if name == "_type" else name): value for name, value in GOOD.items()}
    bundle = _sign(signer, json.dumps(spelled).encode(), "application/vnd.in-toto+json")
    with pytest.raises(TamperedError, match="is not an in-toto Statement v1"):
        verify_statement(bundle, policy, "watermark")


@pytest.mark.parametrize("payload", PAYLOADS + [json.dumps(GOOD | w).encode() for w in WRONG])
def test_a_signed_payload_that_is_no_statement_is_refused(
    signer: FileSigner, policy: Policy, payload: bytes
) -> None:
    bundle = _sign(signer, payload, "application/vnd.in-toto+json")
    with pytest.raises(TamperedError, match="is not an in-toto Statement v1"):
        verify_statement(bundle, policy, "watermark")


@pytest.mark.parametrize(
    "subject",
    [
        [{"name": "a", "digest": {"sha512": "0" * 128}}],
        [{"uri": "urn:a", "digest": {"sha256": "0" * 64}}],
        [{"name": "a", "digest": {"sha256": "0" * 64}}] * 2,
    ],
)
def test_a_subject_without_a_name_and_digest_of_its_own_is_refused(
    signer: FileSigner, policy: Policy, subject: list[Any]
) -> None:
    payload = json.dumps(GOOD | {"subject": subject}).encode()
    bundle = _sign(signer, payload, "application/vnd.in-toto+json")
    with pytest.raises(TamperedError, match="a subject has no name and SHA-256 of its own"):
        verify_statement(bundle, policy, "watermark")


def _set_key_id(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["signatures"][0]["keyid"] = "trusted"


def _second_signature(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["signatures"] *= 2


def _loose_base64(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["payload"] += "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.clear(),
        lambda document: document.update(extra=1),
        lambda document: document.update(mediaType="application/json"),
        lambda document: document.update(dsseEnvelope=None),
        lambda document: document.update(dsseEnvelope=[]),
        lambda document: document["dsseEnvelope"].update(payload=1),
        lambda document: document["dsseEnvelope"].update(payload="ä"),
        lambda document: document["dsseEnvelope"].update(payloadType=None),
        lambda document: document["dsseEnvelope"].update(signatures=[]),
        lambda document: document["dsseEnvelope"].update(signatures=None),
        lambda document: document["dsseEnvelope"].update(signatures=[1]),
        lambda document: document["verificationMaterial"].update(publicKey=None),
        lambda document: document["verificationMaterial"]["publicKey"].update(hint=None),
        lambda document: document["verificationMaterial"].update(tlogEntries=[{}]),
        _set_key_id,
        _second_signature,
        _loose_base64,
    ],
)
def test_a_malformed_bundle_is_tampering(
    bundle: str, policy: Policy, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(TamperedError, match="bundle: "):
        verify_statement(_edit(bundle, change), policy, "watermark")


@pytest.mark.parametrize("text", ["", "{", "null", "1", '"a"', "[]", "[" * 100_000, "\ud800"])
def test_what_is_no_json_object_is_tampering(policy: Policy, text: str) -> None:
    with pytest.raises(TamperedError, match=r"is not JSON|is not a JSON object"):
        verify_statement(text, policy, "watermark")
    with pytest.raises(TamperedError, match=r"is not JSON|is not a JSON object"):
        verify_command(text, policy)


def test_another_spelling_of_the_same_bundle_is_refused(bundle: str, policy: Policy) -> None:
    for text in (json.dumps(json.loads(bundle)), bundle + "\n"):
        with pytest.raises(TamperedError, match="spelled as it was written"):
            verify_statement(text, policy, "watermark")


def test_a_command_comes_back_byte_for_byte(signer: FileSigner, policy: Policy) -> None:
    payload = b'{"command": "claim", "fence": 7}'
    envelope = signer.sign_command(payload)
    assert verify_command(envelope, policy) == payload
    assert "claim" not in envelope


def test_a_changed_command_is_tampering(signer: FileSigner, policy: Policy) -> None:
    document = json.loads(signer.sign_command(b'{"fence": 7}'))
    document["payload"] = base64.b64encode(b'{"fence": 8}').decode()
    with pytest.raises(TamperedError, match="not signed by"):
        verify_command(json.dumps(document, separators=(",", ":")), policy)


def test_a_statement_is_no_command(bundle: str, policy: Policy) -> None:
    envelope = json.dumps(json.loads(bundle)["dsseEnvelope"], separators=(",", ":"))
    with pytest.raises(TamperedError, match="payload type is not"):
        verify_command(envelope, policy)


def test_a_command_is_no_statement(signer: FileSigner, policy: Policy) -> None:
    bundle = _sign(
        signer, b'{"command": "claim"}', "application/vnd.deepsigns-registry.command+json"
    )
    with pytest.raises(TamperedError, match="payload type is not"):
        verify_statement(bundle, policy, "watermark")


def test_a_malformed_envelope_is_tampering(signer: FileSigner, policy: Policy) -> None:
    document = json.loads(signer.sign_command(b"{}"))
    changes: list[dict[str, Any]] = [{"signatures": []}, {"payload": None}, {"extra": 1}]
    for change in changes:
        with pytest.raises(TamperedError, match="command: is not"):
            verify_command(json.dumps(document | change, separators=(",", ":")), policy)
