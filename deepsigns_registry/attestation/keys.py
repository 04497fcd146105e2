"""ECDSA P-256 keys in PEM files: one key type for statements, model files and commands."""

import hashlib
import warnings
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.permissions import check_private_file
from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError
from deepsigns_registry.errors import ConfigurationError, NotFoundError

__all__ = [
    "generate_signing_key",
    "key_hint",
    "load_private_key",
    "load_public_key",
    "owner_identity",
    "parse_public_key",
    "public_pem",
]

_LIMIT = 64 * 1024
_MAKE = "make new keys in another folder with: deepsigns init --out FOLDER --owner NAME"


def generate_signing_key(private: Path, public: Path) -> None:
    """Makes a new key pair and writes both halves; never overwrites.

    Args:
        private: PKCS#8 PEM, mode 0600.
        public: SubjectPublicKeyInfo PEM.

    Raises:
        ConfigurationError: One of the files exists, or cannot be written.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     private, public = folder / "worker.pem", folder / "worker.pub.pem"
        ...     generate_signing_key(private, public)
        ...     oct(private.stat().st_mode), public.read_text().splitlines()[0]
        ('0o100600', '-----BEGIN PUBLIC KEY-----')
    """
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise ConfigurationError(
                f"{path}: exists already", advice="a key is never overwritten; name another file"
            )
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(private, secret, files.PRIVATE)
    try:
        _write(public, public_pem(key.public_key()), files.PUBLIC)
    except ConfigurationError:
        private.unlink()  # ours, written a moment ago: half a pair helps nobody
        raise


def load_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Reads a private key.

    Raises:
        ConfigurationError: The file is missing, unreadable, encrypted, holds something else
            than a P-256 private key, or every user of the machine can read it.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     private, public = folder / "worker.pem", folder / "worker.pub.pem"
        ...     generate_signing_key(private, public)
        ...     load_private_key(private).curve.name
        'secp256r1'
    """
    advice = f"correct the path in deepsigns.toml, or {_MAKE}"
    content = _read(path, "a signing key", advice)
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigurationError(
            f"{path}: the key is encrypted with a password",
            advice="store it without one, in a file that only this user can read",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # The library's message may quote the content, so it is not passed on.
        raise ConfigurationError(f"{path}: is not a PEM private key", advice=_MAKE) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ConfigurationError(f"{path}: is not an ECDSA P-256 private key", advice=_MAKE)
    check_private_file(path)
    return key


def load_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Reads a public key.

    Raises:
        ConfigurationError: The file is missing, unreadable, or holds something else than a P-256
            public key.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     private, public = folder / "worker.pem", folder / "worker.pub.pem"
        ...     generate_signing_key(private, public)
        ...     load_public_key(public) == load_private_key(private).public_key()
        True
    """
    advice = "name the .pub.pem file"
    content = _read(path, "a public key", advice)
    try:
        key = parse_public_key(content)
    except ValueError:
        raise ConfigurationError(f"{path}: is not a PEM public key", advice=advice) from None
    if key is None:
        raise ConfigurationError(f"{path}: is not an ECDSA P-256 public key", advice=advice)
    return key


def parse_public_key(content: bytes) -> ec.EllipticCurvePublicKey | None:
    """Reads a public key of unknown origin.

    Args:
        content: PEM.

    Returns:
        The key; None when it is of another kind than P-256.

    Raises:
        ValueError: It is no public key, or of a kind that nobody here knows.

    Examples:
        >>> key = ec.generate_private_key(ec.SECP256R1()).public_key()
        >>> parse_public_key(public_pem(key)) == key
        True
    """
    try:
        with warnings.catch_warnings():
            # The library warns of kinds of keys that it will not know for long.
            warnings.simplefilter("ignore")
            key = load_pem_public_key(content)
    except (UnsupportedAlgorithm, TypeError, ArithmeticError, LookupError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        return None
    return key


def owner_identity(public_key: Path) -> bytes:
    """Who an owner is: SHA-256 of the DER SubjectPublicKeyInfo of the owner's root public key.

    Returns:
        32 bytes; they enter every derivation of the watermark's secret.

    Raises:
        ConfigurationError: See `load_public_key`.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     private, public = folder / "worker.pem", folder / "worker.pub.pem"
        ...     generate_signing_key(private, public)
        ...     len(owner_identity(public))
        32
    """
    key = load_public_key(public_key)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """SubjectPublicKeyInfo PEM of a key.

    Examples:
        >>> key = ec.generate_private_key(ec.SECP256R1()).public_key()
        >>> public_pem(key).splitlines()[-1]
        b'-----END PUBLIC KEY-----'
    """
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_hint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public PEM in hex, the hint that OpenSSF Model Signing puts in a bundle.

    Examples:
        >>> key = ec.generate_private_key(ec.SECP256R1()).public_key()
        >>> key_hint(key) == hashlib.sha256(public_pem(key)).hexdigest()
        True
    """
    return hashlib.sha256(public_pem(key)).hexdigest()


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        files.private_folder(path.parent)
        files.create(path, content, mode=mode)
    except FileExistsError:
        raise ConfigurationError(
            f"{path}: exists already", advice="a key is never overwritten; name another file"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def _read(path: Path, what: str, advice: str) -> bytes:
    try:
        return read_regular(path, most_bytes=_LIMIT)
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: no such file, {what} is expected there",
            advice=advice,
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except TooLargeError:
        raise ConfigurationError(f"{path}: is too long for a key file") from None
    except UnreadableError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}", advice=advice) from None
