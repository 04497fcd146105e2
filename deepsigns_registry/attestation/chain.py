"""The chain of commitments as it is read: each entry names the digest of the one before.

One JSON line an entry, in one spelling. Who may have written it is anybody: inside an evidence
file it comes from one side of a dispute.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.errors import TamperedError

__all__ = ["MOST_BYTES", "START", "Chain", "Entry", "distinct", "read_chain"]

MOST_BYTES = 256 * 2**20
"""Longest chain that is read."""

START = "0" * 64
"""What the first entry names in the place of an entry before it."""

# JSON has no larger whole numbers everywhere.
_MOST = 2**53
_DOMAIN = b"deepsigns-registry/commitment-log/v0\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"number", "owner", "index", "commitments", "at", "previous", "digest"}


@dataclass(frozen=True)
class Entry:
    """One secret that was committed to.

    Attributes:
        number: Of the entry in its chain, from 1.
        owner: Identity of the owner (hex).
        index: Of the entry among this owner's, from 1.
        commitments: Scheme name -> commitment (hex).
        at: When, by the writer's own clock.
        previous: Digest of the entry before; `START` of the first.
    """

    number: int
    owner: str
    index: int
    commitments: Mapping[str, str]
    at: str
    previous: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the entry, what the next one names."""
        return hashlib.sha256(_DOMAIN + _line(self._body()).encode()).hexdigest()

    @property
    def line(self) -> str:
        """The entry as it stands in the file, with the line's end."""
        return _line(self._body() | {"digest": self.digest})

    def _body(self) -> dict[str, object]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True)
class Chain:
    """Entries that follow each other; the first of them need not be the chain's first.

    Attributes:
        entries: In order.
    """

    entries: tuple[Entry, ...] = ()

    @property
    def hidden(self) -> int:
        """Number of entries before the first one here."""
        return self.entries[0].number - 1 if self.entries else 0

    @property
    def head(self) -> str:
        """Digest of the newest entry."""
        return self.entries[-1].digest if self.entries else START

    @cached_property
    def spans(self) -> Mapping[str, tuple[int, int]]:
        """Owner (hex) -> index of the first and of the last entry of this owner that is here."""
        spans: dict[str, tuple[int, int]] = {}
        for entry in self.entries:
            first, _ = spans.get(entry.owner, (entry.index, 0))
            spans[entry.owner] = first, entry.index
        return spans

    def count(self, owner: str) -> int:
        """How many commitments of an owner (hex) there are, entries that are not here included."""
        return self.spans.get(owner, (1, 0))[1]

    def find(self, owner: str, commitments: Mapping[str, str]) -> Entry | None:
        """The entry of these commitments of an owner (hex)."""
        same = dict(commitments)
        found = (e for e in self.entries if e.owner == owner and e.commitments == same)
        return next(found, None)


def read_chain(content: bytes, what: str, *, advice: str, partial: bool = False) -> Chain:
    r"""Reads a chain and checks every link.

    Args:
        content: The lines.
        what: Name of the chain, for messages.
        advice: What to do about a broken one.
        partial: Whether entries may be missing before the first line.

    Returns:
        The chain; it has at least one entry.

    Raises:
        TamperedError: It is no chain, is longer than `MOST_BYTES`, or a link is broken.

    Examples:
        >>> read_chain(b"not a chain\n", "log.jsonl", advice="restore it from a backup")
        Traceback (most recent call last):
        deepsigns_registry.errors.TamperedError: log.jsonl: the chain of commitments is broken ...
    """
    if len(content) > MOST_BYTES:
        raise TamperedError(f"{what}: is longer than {MOST_BYTES} bytes")
    entries: list[Entry] = []
    counts: dict[str, int] = {}
    hidden, previous = 0, START
    # Bytes are split, not text: a stray line separator is no end of a line.
    for number, raw in enumerate(content.split(b"\n")[:-1] or [b""], start=1):
        entry = _entry(raw)
        if entry is not None and partial and number == 1:
            hidden, previous = entry.number - 1, entry.previous
        if entry is None or not _follows(entry, number + hidden, previous, counts, hidden):
            raise _broken(what, number, advice)
        counts[entry.owner] = entry.index
        previous = entry.digest
        entries.append(entry)
    if not content.endswith(b"\n"):
        raise _broken(what, len(entries) + 1, advice)
    if sum(counts.values()) > len(entries) + hidden:
        raise _broken(what, 1, advice)
    return Chain(tuple(entries))


def distinct(chains: Iterable[Chain]) -> int:
    """How many commitments several chains hold together; what stands in two of them counts once.

    Entries that are not shown count too.

    Examples:
        >>> entry = Entry(1, "aa", 1, {"whitebox": "bb"}, "2026-11-26T09:00:00Z", START)
        >>> distinct([Chain((entry,)), Chain((entry,))])
        1
    """
    shown = {entry.digest for chain in chains for entry in chain.entries}
    return len(shown) + sum(chain.hidden for chain in chains)


def _follows(
    entry: Entry, number: int, previous: str, counts: Mapping[str, int], hidden: int
) -> bool:
    if entry.number != number or entry.previous != previous:
        return False
    if (number == 1) != (previous == START):
        return False
    known = counts.get(entry.owner)
    # Of an owner whose earlier entries are not shown, some may stand before the first line.
    return entry.index == known + 1 if known else 1 <= entry.index <= hidden + 1


def _entry(raw: bytes) -> Entry | None:
    """The entry of one line; None when the line is not exactly what the log writes."""
    try:
        found = read_json(raw)
        if not isinstance(found, dict) or found.keys() != _FIELDS or not _well_formed(found):
            return None
        digest = found.pop("digest")
        entry = Entry(**found)
        good = entry.digest == digest and entry.line.encode() == raw + b"\n"
    except (ValueError, TypeError):
        return None
    return entry if good else None


def _well_formed(found: Mapping[str, object]) -> bool:
    commitments = found["commitments"]
    return (
        # A truth value is a whole number in Python, not in JSON.
        all(
            type(value := found[name]) is int and 0 < value <= _MOST for name in ("number", "index")
        )
        and all(_is_digest(found[name]) for name in ("owner", "previous", "digest"))
        and isinstance(found["at"], str)
        and isinstance(commitments, dict)
        and bool(commitments)
        and all(map(_is_digest, commitments.values()))
    )


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _line(entry: Mapping[str, object]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def _broken(what: str, number: int, advice: str) -> TamperedError:
    return TamperedError(
        f"{what}: the chain of commitments is broken at entry {number}", advice=advice
    )
