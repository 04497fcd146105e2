"""Section 5: digests of samples, the root of a manifest, and the samples a key chooses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.golden.reference.keys import encoded, mac, sha256


def sample_digest(kind: str, shape: Sequence[int], values: bytes) -> bytes:
    return sha256(encoded(kind.encode(), ",".join(map(str, shape)).encode(), values))


@dataclass(frozen=True)
class Entry:
    digest: bytes
    label: int


def merkle(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + merkle(leaves[:split]) + merkle(leaves[split:]))


def manifest_root(entries: Iterable[Entry]) -> str:
    leaves = (entry.digest + entry.label.to_bytes(8, "little", signed=True) for entry in entries)
    return merkle(sorted(leaves)).hex()


def different(entries: Sequence[Entry], label: int | None) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for place, entry in enumerate(entries):
        if label in {None, entry.label} and entry.digest not in found:
            found[entry.digest] = place
    return found


def lowest(entries: Sequence[Entry], key: bytes, count: int, label: int | None = None) -> list[int]:
    found = different(entries, label)
    ordered = sorted(found, key=lambda digest: mac(key, digest))
    return [found[digest] for digest in ordered[:count]]
