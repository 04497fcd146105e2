"""The counter of commitments: how many secrets an owner has ever committed to.

A seed costs a fraction of a millisecond to try, so a verdict is adjusted for the number of
commitments made. Each entry is chained to the one before by its hash; an entry cannot be changed
or dropped from the middle unnoticed. That the newest ones are still there is shown by the signed
attestations, which carry their index.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation import files
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    TamperedError,
)

__all__ = ["CommitmentLog"]

_DOMAIN = b"deepsigns-registry/commitment-log/v0\n"
_START = "0" * 64
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"number", "owner", "index", "commitments", "at", "previous", "digest"}


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
            entries = self._entries()
            own = [entry for entry in entries if entry["owner"] == owner.hex()]
            for entry in own:
                if entry["commitments"] == dict(commitments):
                    return int(entry["index"])
            body = {
                "number": len(entries) + 1,
                "owner": owner.hex(),
                "index": len(own) + 1,
                "commitments": dict(commitments),
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "previous": entries[-1]["digest"] if entries else _START,
            }
            lines = [*map(_line, entries), _line(body | {"digest": _digest(body)})]
            # Replaced as a whole: an interrupted append leaves no torn line behind.
            files.replace(self.path, "".join(lines).encode())
        return len(own) + 1

    def count(self, owner: bytes) -> int:
        """Number of commitments of an owner.

        Raises:
            TamperedError: The chain is broken.
            CouldNotCheckError: The file cannot be read.
        """
        return sum(entry["owner"] == owner.hex() for entry in self._entries())

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

    def _entries(self) -> list[dict[str, Any]]:
        try:
            content = files.read_small(self.path, limit=256 * 2**20)
        except NotFoundError:
            return []
        entries: list[dict[str, Any]] = []
        counts: dict[str, int] = {}
        previous = _START
        # Bytes are split, not text: a stray line separator is no end of a line.
        for number, raw in enumerate(content.split(b"\n")[:-1] or [b""], start=1):
            entry = _entry(raw)
            owner = str(entry.get("owner"))
            counts[owner] = counts.get(owner, 0) + 1
            known = entry.get("number") == number and entry.get("index") == counts[owner]
            if not known or entry.get("previous") != previous:
                raise self._broken(number)
            previous = entry["digest"]
            entries.append(entry)
        if not content.endswith(b"\n"):
            raise self._broken(len(entries) + 1)
        return entries

    def _broken(self, number: int) -> TamperedError:
        return TamperedError(
            f"{self.path}: the chain of commitments is broken at entry {number}",
            advice="restore the file from a backup",
        )


def _entry(raw: bytes) -> dict[str, Any]:
    """The entry of one line; empty when the line is not exactly what `append` wrote."""
    try:
        entry = json.loads(raw)
        if not isinstance(entry, dict) or entry.keys() != _FIELDS:
            return {}
        body = {name: value for name, value in entry.items() if name != "digest"}
        good = entry["digest"] == _digest(body) and _line(entry).encode() == raw + b"\n"
    except (ValueError, TypeError, RecursionError):
        return {}
    return entry if good else {}


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_DOMAIN + _line(body).encode()).hexdigest()


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"
