"""Signing with a key in a file: statements, commands and a model's files."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.digests import BUNDLE_FOLDER, DOWNLOAD_NOTE
from deepsigns_registry.attestation.envelope import SignedPayload, open_bundle
from deepsigns_registry.attestation.keys import key_hint, load_private_key, public_pem
from deepsigns_registry.attestation.low_s import FORM_FIELD, SIGNATURE_FORM, to_low_s
from deepsigns_registry.attestation.statement import encode_statement
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError

__all__ = ["COMMAND_PAYLOAD", "STATEMENT_PAYLOAD", "FileSigner"]

STATEMENT_PAYLOAD = "application/vnd.in-toto+json"
COMMAND_PAYLOAD = "application/vnd.deepsigns-registry.command+json"


class FileSigner:
    """Signs with an ECDSA P-256 key in a PKCS#8 PEM file.

    Attributes:
        path: The private key's file.
        hint: SHA-256 of the public key's PEM in hex.
    """

    def __init__(self, path: Path) -> None:
        """Loads the key.

        Raises:
            ConfigurationError: The file is missing or holds no P-256 private key.
        """
        self.path = path
        self._key = load_private_key(path)
        self.hint = key_hint(self._key.public_key())

    def __repr__(self) -> str:
        return f"FileSigner({str(self.path)!r})"

    @property
    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo PEM of the key that verifies this signer's signatures."""
        return public_pem(self._key.public_key())

    def sign_statement(self, statement: Mapping[str, Any]) -> str:
        """Signs an in-toto statement, in the one form that its predicate then names.

        Returns:
            A Sigstore v0.3 bundle, JSON text.

        Raises:
            ConfigurationError: It is no in-toto Statement v1.
        """
        predicate = statement.get("predicate")
        if isinstance(predicate, dict) and predicate:
            statement = {**statement, "predicate": {**predicate, FORM_FIELD: SIGNATURE_FORM}}
        signed = self._sign(encode_statement(statement), STATEMENT_PAYLOAD)
        return signed.render_bundle(self._key.public_key())

    def sign_command(self, payload: bytes) -> str:
        """Signs a command for the registry's server.

        Returns:
            A DSSE envelope, JSON text.
        """
        return self._sign(payload, COMMAND_PAYLOAD).render_envelope()

    def sign_folder(self, folder: Path, output: Path) -> None:
        """Signs a model's files with OpenSSF Model Signing, leaving out `deepsigns/`.

        Args:
            folder: The model.
            output: Where the Sigstore bundle goes; replaced when it exists.

        Raises:
            CouldNotCheckError: The files cannot be read.
        """
        from model_signing import hashing, signing

        config = hashing.Config().set_ignored_paths(
            paths=[BUNDLE_FOLDER, DOWNLOAD_NOTE], ignore_git_paths=True
        )
        with tempfile.TemporaryDirectory(prefix="deepsigns-") as scratch:
            draft = Path(scratch) / "bundle.json"
            try:
                signing.Config().use_elliptic_key_signer(private_key=self.path).set_hashing_config(
                    config
                ).sign(folder, draft)
                text = draft.read_text(encoding="utf-8")
                # Also guards against a library that spells its bundle in another way than the
                # verifier here accepts.
                signed = open_bundle(text, str(output))
                key = self._key.public_key()
                signed = replace(signed, signature=to_low_s(signed.signature))
                signed.verify((key,), str(output))
                text = signed.render_bundle(key)
            except DeepSignsError:
                raise
            except Exception as error:  # noqa: BLE001 - the library names no errors of its own
                raise CouldNotCheckError(f"{folder}: cannot be signed: {error}") from None
        files.replace(output, text.encode(), mode=files.PUBLIC)

    def _sign(self, payload: bytes, payload_type: str) -> SignedPayload:
        from securesystemslib.dsse import Envelope
        from securesystemslib.signer import CryptoSigner

        signature = Envelope(payload, payload_type, {}).sign(CryptoSigner(self._key))
        return SignedPayload(payload, payload_type, to_low_s(bytes.fromhex(signature.signature)))
