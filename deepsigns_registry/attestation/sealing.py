"""Sealing of secrets in the age format: to several recipients, and to one purpose.

What is sealed is a header with the context, then the secret. The context says whose secret it is
and what for; opening compares it, so that one sealed file cannot stand in for another.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyrage

from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.permissions import check_private_file
from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    TamperedError,
)

__all__ = [
    "generate_identity",
    "generate_sealing_key",
    "load_identity",
    "load_own_identity",
    "load_recipient",
    "seal",
    "unseal",
]

_MAGIC = b"deepsigns-registry/sealed/v0\n"
_LENGTH = 4
_MOST_KEY = 64 * 1024
_WRONG_KEY = "No matching keys found"


def seal(plaintext: bytes, recipients: Sequence[str], context: Mapping[str, str]) -> bytes:
    """Encrypts a secret to every recipient; any one of them opens it alone.

    Args:
        plaintext: The secret.
        recipients: age X25519 recipients, `age1...`.
        context: What it belongs to, for example owner and request.

    Returns:
        An age file; the `age` tool opens it too, and shows the header in front of the secret.

    Raises:
        ConfigurationError: There is no recipient, or one is malformed.

    Examples:
        >>> identity, recipient = generate_identity()
        >>> sealed = seal(b"secret", [recipient], {"request": "r1"})
        >>> unseal(sealed, identity, {"request": "r1"})
        b'secret'
    """
    if not recipients:
        raise ConfigurationError(
            "sealing: there is no recipient", advice="name one with sealing under [owner]"
        )
    header = _header(context)
    parsed = [_recipient(text) for text in recipients]
    framed = _MAGIC + len(header).to_bytes(_LENGTH, "big") + header + plaintext
    return bytes(pyrage.encrypt(framed, parsed))


def unseal(sealed: bytes, identity: str, context: Mapping[str, str]) -> bytes:
    """Opens what `seal` made.

    Args:
        sealed: The age file.
        identity: age X25519 identity, `AGE-SECRET-KEY-1...`.
        context: The context it must have been sealed with.

    Raises:
        ConfigurationError: `identity` is malformed.
        CouldNotCheckError: It was not sealed to this identity.
        TamperedError: The file was changed, or belongs to another context.

    Examples:
        >>> identity, recipient = generate_identity()
        >>> sealed = seal(b"secret", [recipient], {"request": "r1"})
        >>> unseal(sealed, identity, {"request": "another"})
        Traceback (most recent call last):
        deepsigns_registry.errors.TamperedError: unsealing: the secret was sealed for another ...
    """
    try:
        key = pyrage.x25519.Identity.from_str(identity.strip())
    except pyrage.IdentityError:
        raise ConfigurationError(
            "unsealing: the identity is not an age X25519 identity",
            advice="with unsealing under [owner], name keys/sealing.key that deepsigns init wrote",
        ) from None
    try:
        framed = pyrage.decrypt(sealed, [key])
    except pyrage.DecryptError as error:
        # A changed recipient line looks like a file for somebody else; both are refused.
        if str(error) == _WRONG_KEY:
            raise CouldNotCheckError(
                "unsealing: the secret is not sealed to this identity",
                advice="use the identity of one of its recipients",
            ) from None
        raise TamperedError("unsealing: the sealed file was changed") from None
    start = len(_MAGIC) + _LENGTH
    size = int.from_bytes(framed[len(_MAGIC) : start], "big")
    header = framed[start : start + size]
    if not framed.startswith(_MAGIC) or header != _header(context):
        raise TamperedError(
            "unsealing: the secret was sealed for another owner or request",
            advice="compare the files of the key store with a backup",
        )
    return bytes(framed[start + size :])


def generate_identity() -> tuple[str, str]:
    """Makes a new key pair for sealing.

    Returns:
        The identity, which is secret, and the recipient, which is public; both as text.

    Examples:
        >>> identity, recipient = generate_identity()
        >>> identity[:16], recipient[:4]
        ('AGE-SECRET-KEY-1', 'age1')
    """
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def generate_sealing_key(private: Path, public: Path) -> None:
    """Writes a new identity (mode 0600) and its recipient; never overwrites.

    Raises:
        ConfigurationError: One of the files exists, or cannot be written.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     generate_sealing_key(folder / "sealing.key", folder / "sealing.pub")
        ...     sorted(path.name for path in folder.iterdir())
        ['sealing.key', 'sealing.pub']
    """
    identity, recipient = generate_identity()
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise _exists(path)
    _write(private, f"# public key: {recipient}\n{identity}\n", files.PRIVATE)
    try:
        _write(public, f"{recipient}\n", files.PUBLIC)
    except ConfigurationError:
        private.unlink()  # ours, written a moment ago: half a pair helps nobody
        raise


def load_recipient(path: Path) -> str:
    """Reads a recipient from a file with one line that is no comment.

    Raises:
        ConfigurationError: The file is missing or holds no age recipient.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     generate_sealing_key(folder / "sealing.key", folder / "sealing.pub")
        ...     load_recipient(folder / "sealing.pub")[:4]
        'age1'
    """
    text = _line(path)
    try:
        _recipient(text)
    except ConfigurationError:
        raise ConfigurationError(f"{path}: holds no age X25519 recipient (age1...)") from None
    return text


def load_identity(path: Path) -> str:
    """Reads an identity from a file as `age-keygen` and `generate_sealing_key` write it.

    Raises:
        ConfigurationError: The file is missing or holds no age identity.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     generate_sealing_key(folder / "sealing.key", folder / "sealing.pub")
        ...     load_identity(folder / "sealing.key")[:16]
        'AGE-SECRET-KEY-1'
    """
    text = _line(path)
    try:
        pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise ConfigurationError(f"{path}: holds no age X25519 identity") from None
    return text


def load_own_identity(path: Path) -> str:
    """Reads the identity that this machine unseals with; see `load_identity`.

    Raises:
        ConfigurationError: The file is missing, holds no age identity, or every user of the
            machine can read it.
    """
    identity = load_identity(path)
    check_private_file(path)
    return identity


def _header(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise ConfigurationError(
            f"sealing: {text[:80]!a} is not an age X25519 recipient (age1...)"
        ) from None


def _line(path: Path) -> str:
    try:
        lines = read_regular(path, most_bytes=_MOST_KEY).decode().splitlines()
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: no such file, a sealing key is expected there",
            advice="correct the path in deepsigns.toml, or make new keys in another folder "
            "with: deepsigns init --out FOLDER --owner NAME",
        ) from None
    except (OSError, UnicodeDecodeError, UnreadableError):
        raise ConfigurationError(f"{path}: cannot be read as text") from None
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return found[0] if len(found) == 1 else ""


def _write(path: Path, text: str, mode: int) -> None:
    try:
        files.private_folder(path.parent)
        files.create(path, text.encode(), mode=mode)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: exists already", advice="a key is never overwritten; name another file"
    )
