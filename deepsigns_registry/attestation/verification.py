"""Verification, in the order of the DSSE protocol: signature, payload type, then parsing."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from deepsigns_registry.attestation.digests import BUNDLE_FOLDER, DOWNLOAD_NOTE
from deepsigns_registry.attestation.envelope import SignedPayload, open_bundle, open_envelope
from deepsigns_registry.attestation.keys import key_hint, public_pem
from deepsigns_registry.attestation.low_s import is_low_s, promises_low_s
from deepsigns_registry.attestation.policy import Policy, Purpose
from deepsigns_registry.attestation.signing import COMMAND_PAYLOAD, STATEMENT_PAYLOAD
from deepsigns_registry.attestation.statement import (
    AUDIT_PREDICATE,
    CLAIM_PREDICATE,
    STATEMENT_TYPE,
    WATERMARK_PREDICATE,
)
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.deferred import deferred
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, TamperedError

__all__ = ["VerifiedStatement", "verify_command", "verify_model_bundle", "verify_statement"]

_PREDICATES: dict[Purpose, str] = {
    "watermark": WATERMARK_PREDICATE,
    "audit": AUDIT_PREDICATE,
    "claim": CLAIM_PREDICATE,
}


@dataclass(frozen=True)
class VerifiedStatement:
    """A statement whose signature, types and form are good.

    Whether it is about the files at hand is still to be compared: see `bundle.verify_folder`.

    Attributes:
        predicate: As signed; read it with `statement.parse_watermark` or `parse_audit`.
        subjects: Name -> SHA-256 in hex.
        key: The trusted key that signed.
        payload: The exact bytes that were signed.
    """

    predicate: dict[str, Any]
    subjects: dict[str, str]
    key: ec.EllipticCurvePublicKey
    payload: bytes


def verify_statement(
    bundle: str,
    policy: Policy,
    purpose: Purpose,
    *,
    what: str = "bundle",
    either_form: bool = False,
) -> VerifiedStatement:
    """Verifies the bundle of a statement.

    Of two forms of one signature (see `low_s`) the lower is asked for where the statement says
    that it was signed in that form. Statements from before that are good in either.

    Args:
        bundle: The Sigstore v0.3 bundle, JSON text.
        policy: Trusted keys.
        purpose: "watermark", "audit" or "claim"; fixes the predicate type and the keys.
        what: Name of the bundle, for messages.
        either_form: Take either form of the signature in any case: for a copy that is only
            asked what was signed.

    Raises:
        ConfigurationError: The policy trusts nobody for this purpose.
        TamperedError: Anything is wrong with the bundle.
    """
    if purpose not in _PREDICATES:
        raise ConfigurationError(f"purpose '{purpose}': statements are signed for another one")
    keys = policy.keys_for(purpose)
    signed = open_bundle(bundle, what)
    key = _check(signed, keys, what, policy.advice)
    _check_type(signed, STATEMENT_PAYLOAD, what)
    document = _parse(signed.payload, what)
    if document["predicateType"] != _PREDICATES[purpose]:
        raise TamperedError(
            f"{what}: its predicate type is not {_PREDICATES[purpose]}",
            advice="it was signed for another purpose; do not use it for this one",
        )
    if not either_form and promises_low_s(document["predicate"]):
        _check_form(signed, what)
    return VerifiedStatement(
        predicate=document["predicate"],
        subjects=_subjects(document["subject"], what),
        key=key,
        payload=signed.payload,
    )


def verify_command(envelope: str, policy: Policy) -> bytes:
    """Verifies a signed command.

    Either form of the signature is good (see `low_s`): a command is known by the id inside it, so
    that the other form does no more than the same command sent twice.

    Args:
        envelope: The DSSE envelope, JSON text.
        policy: Trusted keys; those for "command" count.

    Returns:
        The exact bytes that were signed.

    Raises:
        ConfigurationError: The policy trusts nobody with commands.
        TamperedError: Anything is wrong with the envelope.
    """
    keys = policy.keys_for("command")
    signed = open_envelope(envelope, "command")
    signed.verify(keys, "command", advice=policy.advice)
    _check_type(signed, COMMAND_PAYLOAD, "command")
    return signed.payload


def verify_model_bundle(
    folder: Path,
    bundle: str,
    key: ec.EllipticCurvePublicKey,
    *,
    what: str = "model bundle",
    either_form: bool = False,
    ignored: Iterable[str] = (),
) -> None:
    """Verifies a folder against its OpenSSF Model Signing bundle.

    Args:
        folder: The model.
        bundle: Text of the Sigstore v0.3 bundle.
        key: The key that must have signed it.
        what: Name of the bundle, for messages.
        either_form: Take either form of the signature, as for a bundle from before there was one.
        ignored: Paths beside the signed ones that do not count.

    Raises:
        TamperedError: Anything is wrong with the bundle, or a file was changed, added or removed.
        CouldNotCheckError: A file cannot be read.
    """
    signed = open_bundle(bundle, what)
    _check(signed, (key,), what, "do not use these files; fetch them again")
    _check_type(signed, STATEMENT_PAYLOAD, what)
    if not either_form:
        _check_form(signed, what)

    # Of signatures with keys that live for minutes, which here are none.
    with deferred("model_signing._signing.sign_sigstore"):
        from model_signing import hashing, verifying

    config = hashing.Config().set_ignored_paths(
        paths=[BUNDLE_FOLDER, DOWNLOAD_NOTE, *ignored], ignore_git_paths=True
    )
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as scratch:
        public, copy = Path(scratch) / "key.pem", Path(scratch) / "bundle.json"
        public.write_bytes(public_pem(key))
        copy.write_text(bundle, encoding="utf-8")
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(
                config
            ).verify(folder, copy)
        except OSError as error:
            raise CouldNotCheckError(f"{folder}: cannot be read: {error.strerror}") from None
        except Exception:  # noqa: BLE001 - the library names no errors of its own
            # Its message quotes raw digests; a changed file was named by the statement's check.
            raise TamperedError(
                f"{what}: does not fit the files in {folder}",
                advice="do not use these files; fetch them again",
            ) from None


def _check(
    signed: SignedPayload, keys: tuple[ec.EllipticCurvePublicKey, ...], what: str, advice: str
) -> ec.EllipticCurvePublicKey:
    key = signed.verify(keys, what, advice=advice)
    # The hint chose nothing above; a wrong one still means that somebody edited the bundle.
    if signed.hint != key_hint(key):
        raise TamperedError(f"{what}: its key hint is not that of the key that signed it")
    return key


def _check_type(signed: SignedPayload, expected: str, what: str) -> None:
    if signed.payload_type != expected:
        raise TamperedError(f"{what}: its payload type is not {expected}")


def _check_form(signed: SignedPayload, what: str) -> None:
    if not is_low_s(signed.signature):
        raise TamperedError(
            f"{what}: its signature is not in the form that it was written in",
            advice="somebody without the key changed it; fetch it again",
        )


def _parse(payload: bytes, what: str) -> dict[str, Any]:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    message = statement_pb2.Statement()
    try:
        document = read_json(payload)
        json_format.ParseDict(document, message, ignore_unknown_fields=True)
        Statement.copy_from_pb(message).validate()
        # Protobuf also takes other spellings of these names, and null for an absent field.
        well_formed = document["_type"] == STATEMENT_TYPE and isinstance(
            document["predicate"], dict
        )
        well_formed = well_formed and isinstance(document["predicateType"], str)
    except (
        json_format.ParseError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ):
        well_formed = False
    if not well_formed:
        raise TamperedError(f"{what}: its payload is not an in-toto Statement v1")
    return dict(document)


def _subjects(listed: Any, what: str) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for entry in listed:
        digests = entry.get("digest")
        name, digest = entry.get("name"), isinstance(digests, dict) and digests.get("sha256")
        if not isinstance(name, str) or not isinstance(digest, str) or name in subjects:
            raise TamperedError(f"{what}: a subject has no name and SHA-256 of its own")
        subjects[name] = digest
    return subjects
