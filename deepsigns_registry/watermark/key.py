"""The secret key: one root, one subkey a scheme, one key a purpose.

Everything secret in a watermark is derived from the root, nothing is drawn: a free choice of
bits, projection, triggers or queries lets anyone forge a claim on a model never marked.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.watermark.expand import DOMAIN, encode

__all__ = [
    "KEY_BYTES",
    "KEY_VERSION",
    "RootKey",
    "commit",
    "key_version",
    "prf",
    "prf_each",
    "purpose_key",
    "scheme_key",
]

KEY_BYTES = 32
KEY_VERSION = 1
"""Of the derivations in this package: `docs/spec/key-v1.md`."""
_NAMED = "key_version"
_BLOCK = 64


@dataclass(frozen=True, repr=False)
class RootKey:
    """The root of one watermark. It is never revealed, not even in a dispute.

    Attributes:
        secret: 32 random bytes.
        owner: SHA-256 of the owner root public key (SPKI, DER); enters every derivation, so
            that a key says whose it is.

    Raises:
        TamperedError: Either part is not 32 bytes long.
    """

    secret: bytes
    owner: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES or len(self.owner) != KEY_BYTES:
            raise TamperedError(
                f"watermark key: secret of {len(self.secret)} and owner of {len(self.owner)} "
                f"bytes instead of {KEY_BYTES} each",
                advice="take the record from the key store again",
            )

    @classmethod
    def generate(cls, owner: bytes) -> "RootKey":
        """A fresh root from the operating system's randomness."""
        return cls(secrets.token_bytes(KEY_BYTES), owner)

    def subkey(self, scheme: str) -> bytes:
        """The 32-byte key of one scheme: HKDF-SHA256 (RFC 5869) of root, owner and name.

        Revealing one scheme's subkey says nothing about another's.
        """
        extracted = hmac.digest(DOMAIN, self.secret, "sha256")
        return _expand(extracted, encode(DOMAIN, b"subkey", self.owner, scheme.encode()))


def scheme_key(subkey: bytes, owner: bytes, manifest_root: str) -> bytes:
    """The 32-byte key that a scheme derives everything from.

    A subkey is revealed in a dispute. Bound to the owner, it gives whoever takes it up as his own
    another mark. Bound to the training data, it gives another mark for every change of them, so
    that nobody can make up samples which fit the bits to a model that is there already.

    Args:
        subkey: See `RootKey.subkey`.
        owner: Identity of the owner, 32 bytes.
        manifest_root: Of the training data, hexadecimal; see `Manifest.root`.

    Examples:
        >>> scheme_key(bytes(32), bytes(32), "00" * 32).hex()[:16]
        'caaf8e34abe57102'
    """
    return _expand(subkey, encode(DOMAIN, b"scheme", owner, bytes.fromhex(manifest_root)))


def purpose_key(key: bytes, purpose: str) -> bytes:
    """The 32-byte key of one purpose inside a scheme, such as `triggers`.

    Examples:
        >>> triggers, bits = (purpose_key(bytes(32), name) for name in ("triggers", "bits"))
        >>> len(triggers), triggers == bits
        (32, False)
    """
    return _expand(key, encode(DOMAIN, b"purpose", purpose.encode()))


def prf(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256: 32 bytes that nobody predicts without the key.

    Examples:
        >>> len(prf(bytes(32), b"a sample's digest"))
        32
    """
    return hmac.digest(key, message, "sha256")


def prf_each(key: bytes, messages: Iterable[bytes]) -> bytes:
    """`prf` of each message, one after the other; written out, which takes half the time.

    Args:
        key: At most 64 bytes.
        messages: What to hash.

    Examples:
        >>> prf_each(b"key", [b"a", b"b"]) == prf(b"key", b"a") + prf(b"key", b"b")
        True
    """
    padded, sha256 = key.ljust(_BLOCK, b"\0"), hashlib.sha256
    inner, outer = (bytes(byte ^ mask for byte in padded) for mask in (0x36, 0x5C))
    return b"".join(
        [sha256(outer + sha256(inner + message).digest()).digest() for message in messages]
    )


def commit(subkey: bytes, scheme: str, nonce: bytes) -> str:
    """The public commitment to a subkey, as hexadecimal SHA-256.

    Examples:
        >>> commit(bytes(32), "whitebox", bytes(32))[:16]
        '91d1eb88165b7f31'
    """
    return hashlib.sha256(encode(DOMAIN, b"commitment", nonce, scheme.encode(), subkey)).hexdigest()


def key_version(meta: Mapping[str, object]) -> int:
    """By which version of the specification a secret is derived.

    The version stands among the plain values of a secret, so that its commitment binds it. What
    was made before there was more than one does not name it and is of version 0.

    Args:
        meta: The plain values of a secret.

    Raises:
        CouldNotCheckError: This package does not know the version.

    Examples:
        >>> key_version({}), key_version({"key_version": 1})
        (0, 1)
    """
    version = meta.get(_NAMED, 0)
    if type(version) is not int or not 0 <= version <= KEY_VERSION:
        raise CouldNotCheckError(
            f"the secret is of another version of the key than 0 to {KEY_VERSION}",
            advice="read it with the release of deepsigns-registry that made it, or a later one",
        )
    return version


def _expand(key: bytes, info: bytes) -> bytes:
    # HKDF-Expand for one block: the output is as long as the hash.
    return hmac.digest(key, info + b"\x01", "sha256")
