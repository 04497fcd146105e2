"""States of an unfinished training on disk, encrypted.

A state holds the half-marked model, which is as secret as the mark. Its key comes from the root
of the watermark, so only who can open the sealed record can read it, and nothing has to be kept
beside it. It proves nothing to anybody: one that does not open is thrown away, and the training
starts again from the beginning.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from deepsigns_registry.attestation import files
from deepsigns_registry.errors import (
    CouldNotCheckError,
    DeepSignsError,
    NotFoundError,
    TamperedError,
)

__all__ = ["Checkpoints", "discard", "discarded_when_done"]

_log = logging.getLogger(__name__)

_MAGIC = b"deepsigns-registry/sealed-checkpoint/v0\n"
_STEP_BYTES, _SALT_BYTES, _TAG_BYTES = 8, 16, 16
_HEADER_BYTES = len(_MAGIC) + _STEP_BYTES + _SALT_BYTES
# One call of AES-GCM takes less than 2 GiB; the state of a large model is more.
_SEGMENT = 64 << 20


class Checkpoints:
    """The last checkpoint of one marking.

    A file is a header (format, step, salt) and the state in segments, each AES-256-GCM. The
    key is HKDF-SHA256 of the root with the file's own salt, so that no nonce is used twice: the
    nonce is the segment's number and whether it is the last. Format, marking and step are
    authenticated with every segment.

    Args:
        folder: Where it is kept; made on the first write.
        marking: Name of the marking.
        root: The root key of its watermark, 32 bytes.
    """

    def __init__(self, folder: Path, marking: str, root: bytes) -> None:
        self._path = _path(folder, marking)
        self._marking = marking.encode()
        self._root = root

    def save(self, step: int, state: bytes) -> None:
        """Puts a state in the place of the one before; a full disk costs a warning, no more.

        Args:
            step: How many steps are done.
            state: What `embed` gave.
        """
        header = _MAGIC + step.to_bytes(_STEP_BYTES, "big") + secrets.token_bytes(_SALT_BYTES)
        cipher = self._cipher(header)
        view = memoryview(state)
        parts = [view[start : start + _SEGMENT] for start in range(0, max(len(view), 1), _SEGMENT)]
        sealed = [
            cipher.encrypt(_nonce(number, len(parts)), part, header + self._marking)
            for number, part in enumerate(parts)
        ]
        try:
            files.private_folder(self._path.parent)
            files.replace(self._path, b"".join([header, *sealed]))
        except OSError as error:
            _log.warning("%s: the checkpoint cannot be written: %s", self._path, error.strerror)

    def load(self) -> bytes | None:
        """The last state; None when there is none that opens.

        What does not open is never parsed: it is removed, and a warning says why.
        """
        try:
            with files.open_regular(self._path) as stream:
                return self._open(stream.read())
        except NotFoundError:
            return None
        except (TamperedError, CouldNotCheckError, OSError) as error:
            _log.warning("%s; training starts from the beginning", error)
            self.discard()
            return None

    def discard(self) -> None:
        """Removes it; see `discard`."""
        _remove(self._path)

    def _open(self, content: bytes) -> bytes:
        header, body = content[:_HEADER_BYTES], memoryview(content)[_HEADER_BYTES:]
        size = _SEGMENT + _TAG_BYTES
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        changed = TamperedError(
            f"{self._path}: the checkpoint was changed, or is another marking's"
        )
        if not header.startswith(_MAGIC) or not parts:
            raise changed
        cipher = self._cipher(header)
        try:
            opened = [
                cipher.decrypt(_nonce(number, len(parts)), part, header + self._marking)
                for number, part in enumerate(parts)
            ]
        except InvalidTag:
            raise changed from None
        return b"".join(opened)

    def _cipher(self, header: bytes) -> AESGCM:
        salt = header[-_SALT_BYTES:]
        derived = HKDF(SHA256(), length=32, salt=salt, info=_MAGIC + self._marking)
        return AESGCM(derived.derive(self._root))


def discard(folder: Path, marking: str) -> None:
    """Removes the checkpoint of a marking, and what a killed process left of a newer one."""
    _remove(_path(folder, marking))


@contextmanager
def discarded_when_done(folder: Path, marking: str) -> Iterator[None]:
    """Removes the checkpoint after success and after a final no.

    It stays where the same work may be tried again: after `CouldNotCheckError`, and when the
    process is told to end.
    """
    try:
        yield
    except CouldNotCheckError:
        raise
    except DeepSignsError:
        discard(folder, marking)
        raise
    discard(folder, marking)


def _path(folder: Path, marking: str) -> Path:
    return folder / f"{marking}.checkpoint"


def _remove(path: Path) -> None:
    try:
        for found in (path, *path.parent.glob(f".{path.name}.*")):
            found.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: cannot be removed: %s", path, error.strerror)


def _nonce(number: int, count: int) -> bytes:
    return number.to_bytes(11, "big") + bytes([number == count - 1])
