"""The counter of commitments: how many secrets an owner has ever committed to.

A seed costs a fraction of a millisecond to try, so a verdict is adjusted for the number of
commitments made. Each entry is chained to the one before by its hash; an entry cannot be changed
or dropped from the middle unnoticed. That the newest ones are still there is shown by the signed
attestations, which carry their index.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.chain import MOST_BYTES, Chain, Entry, read_chain
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
)

__all__ = ["CommitmentLog"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class CommitmentLog:
    """A hash-chained file of commitments, one JSON line an entry.

    Safe to share between processes of one machine.

    Attributes:
        path: The file; missing means that there are no entries.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, owner: bytes, commitments: Mapping[str, str]) -> int:
        """Records the commitments of one secret; the same ones again are not counted twice.

        Args:
            owner: Identity of the owner, 32 bytes.
            commitments: Scheme name -> commitment (64 hexadecimal digits).

        Returns:
            Index of the entry among this owner's, from 1.

        Raises:
            ConfigurationError: A value has the wrong form.
            TamperedError: The chain is broken.
            CouldNotCheckError: The file cannot be written.
        """
        if len(owner) != hashlib.sha256().digest_size:
            raise ConfigurationError("commitment: the owner's identity is not 32 bytes long")
        if not commitments or not all(_SHA256.fullmatch(c) for c in commitments.values()):
            raise ConfigurationError("commitment: expected 64 hexadecimal digits for each scheme")
        with self._locked():
            chain = self._chain()
            known = chain.find(owner.hex(), commitments)
            if known is not None:
                return known.index
            index = chain.count(owner.hex()) + 1
            entry = Entry(
                number=len(chain.entries) + 1,
                owner=owner.hex(),
                index=index,
                commitments=dict(commitments),
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                previous=chain.head,
            )
            lines = [each.line for each in (*chain.entries, entry)]
            # Replaced as a whole: an interrupted append leaves no torn line behind.
            files.replace(self.path, "".join(lines).encode())
        return index

    def count(self, owner: bytes) -> int:
        """Number of commitments of an owner.

        Raises:
            TamperedError: The chain is broken.
            CouldNotCheckError: The file cannot be read.
        """
        return self._chain().count(owner.hex())

    def entry(self, owner: bytes, commitments: Mapping[str, str]) -> Entry:
        """The entry of one secret's commitments.

        Raises:
            NotFoundError: There is none.
            TamperedError: The chain is broken.
            CouldNotCheckError: The file cannot be read.
        """
        found = self._chain().find(owner.hex(), commitments)
        if found is None:
            raise NotFoundError(
                f"{self.path}: holds no such commitment", advice="restore the file from a backup"
            )
        return found

    def content(self) -> bytes:
        """The whole file, whose links were checked: what is shown to others.

        Raises:
            NotFoundError: There is none.
            TamperedError: The chain is broken.
            CouldNotCheckError: The file cannot be read.
        """
        content = self._read()
        self._checked(content)
        return content

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            files.private_folder(self.path.parent)
            descriptor = os.open(
                self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise CouldNotCheckError(f"{self.path}: cannot be locked: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise CouldNotCheckError(f"{self.path}: cannot be written: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def _chain(self) -> Chain:
        try:
            return self._checked(self._read())
        except NotFoundError:
            return Chain()

    def _read(self) -> bytes:
        return files.read_small(self.path, limit=MOST_BYTES)

    def _checked(self, content: bytes) -> Chain:
        return read_chain(content, str(self.path), advice="restore the file from a backup")
