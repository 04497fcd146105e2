"""The exact text of an envelope: DSSE, bare or in a Sigstore v0.3 bundle.

An envelope is accepted only in the one spelling that `render` gives it, so that no byte of a
bundle stands outside the check: no other white space, no extra field, no other base64 padding.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from deepsigns_registry.attestation.keys import key_hint
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import TamperedError, UntrustedSignerError

__all__ = ["BUNDLE_MEDIA_TYPE", "SignedPayload", "open_bundle", "open_envelope"]

BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

_MOST_BYTES = 16 * 2**20
_ADVICE = "do not use it; fetch it again"


@dataclass(frozen=True)
class SignedPayload:
    """A payload with one signature; whether it is good is for `verify` to say.

    Attributes:
        payload: The exact bytes that were signed.
        payload_type: What they claim to be.
        signature: DER, ECDSA over P-256 with SHA-256, of the DSSE pre-authentication encoding.
        hint: What a bundle says about the key; decides nothing.
    """

    payload: bytes
    payload_type: str
    signature: bytes
    hint: str = ""

    def verify(
        self, keys: tuple[ec.EllipticCurvePublicKey, ...], what: str, *, advice: str = ""
    ) -> ec.EllipticCurvePublicKey:
        """Returns the key that made the signature.

        Args:
            keys: The trusted ones.
            what: Name of what is signed, for messages.
            advice: Where they are named, for whoever named the wrong one.

        Raises:
            UntrustedSignerError: None of them did, and it says that it is another's.
            TamperedError: None of them did.
        """
        # Every trusted key is tried, whatever the envelope says of keys.
        encoded = self.encoded()
        for key in keys:
            try:
                key.verify(self.signature, encoded, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return key
        message = f"{what}: not signed by a key that the policy trusts for this"
        if re.fullmatch(r"[0-9a-f]{64}", self.hint) and self.hint not in map(key_hint, keys):
            named = " or ".join(f"{key_hint(key)[:12]}..." for key in keys[:3])
            raise UntrustedSignerError(
                f"{message}, but by one whose file has SHA-256 {self.hint[:12]}... and not {named}",
                advice=advice,
            )
        raise TamperedError(message, advice=advice)

    def encoded(self) -> bytes:
        """What is signed: the pre-authentication encoding of the DSSE protocol.

        Examples:
            >>> SignedPayload(b"hello world", "http://example.com/HelloWorld", b"").encoded()
            b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
        """
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)

    def render_envelope(self) -> str:
        """The DSSE envelope as compact JSON."""
        return json.dumps(self._envelope(), separators=(",", ":"))

    def render_bundle(self, key: ec.EllipticCurvePublicKey) -> str:
        """The Sigstore bundle as compact JSON, with the key's hint."""
        return self._bundle(key_hint(key))

    def _bundle(self, hint: str) -> str:
        bundle = {
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": self._envelope(),
        }
        return json.dumps(bundle, separators=(",", ":"))

    def _envelope(self) -> dict[str, object]:
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [{"sig": base64.b64encode(self.signature).decode(), "keyid": ""}],
        }


def open_bundle(text: str, what: str) -> SignedPayload:
    """Reads a Sigstore v0.3 bundle around one DSSE envelope; verifies no signature.

    Args:
        text: The bundle.
        what: Name of the bundle, for messages.

    Raises:
        TamperedError: It is not one, or not spelled as this package writes it.
    """
    document = _parse(text, what)
    try:
        hint = document["verificationMaterial"]["publicKey"]["hint"]
        content = _signed(document["dsseEnvelope"], hint)
        known = content._bundle(hint)  # noqa: SLF001 - the same module
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, binascii.Error):
        raise _malformed(what, "a Sigstore bundle v0.3 with one signature") from None
    if known != text:
        raise _malformed(what, "spelled as it was written")
    return content


def open_envelope(text: str, what: str) -> SignedPayload:
    """Reads a bare DSSE envelope; verifies no signature.

    Raises:
        TamperedError: It is not one, or not spelled as this package writes it.
    """
    document = _parse(text, what)
    try:
        content = _signed(document, "")
        known = content.render_envelope()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, binascii.Error):
        raise _malformed(what, "a DSSE envelope with one signature") from None
    if known != text:
        raise _malformed(what, "spelled as it was written")
    return content


def _signed(envelope: Any, hint: Any) -> SignedPayload:
    payload, payload_type = envelope["payload"], envelope["payloadType"]
    signatures = envelope["signatures"]
    if not (isinstance(payload, str) and isinstance(payload_type, str) and isinstance(hint, str)):
        raise TypeError
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise ValueError
    return SignedPayload(
        payload=base64.b64decode(payload, validate=True),
        payload_type=payload_type,
        signature=base64.b64decode(signatures[0]["sig"], validate=True),
        hint=hint,
    )


def _parse(text: str, what: str) -> dict[str, Any]:
    try:
        document = read_json(text, most_bytes=_MOST_BYTES)
    except UnreadableError as error:
        raise TamperedError(f"{what}: {error}", advice=_ADVICE) from None
    if not isinstance(document, dict):
        raise _malformed(what, "a JSON object")
    return document


def _malformed(what: str, expected: str) -> TamperedError:
    return TamperedError(f"{what}: is not {expected}", advice=_ADVICE)
