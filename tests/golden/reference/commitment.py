"""Section 8: the digest of a secret, the nonce that binds it, and the commitment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tests.golden.reference.keys import DOMAIN, encoded, sha256


@dataclass(frozen=True)
class Array:
    kind: str
    shape: tuple[int, ...]
    values: bytes


def secret_digest(scheme: str, meta: Mapping[str, object], arrays: Mapping[str, Array]) -> bytes:
    parts = [scheme.encode(), json.dumps(meta, sort_keys=True).encode()]
    for name in sorted(arrays):
        array = arrays[name]
        parts += [name.encode(), array.kind.encode(), str(array.shape).encode(), array.values]
    return sha256(encoded(*parts))


def nonce(salt: bytes, digest: bytes, blueprint: bytes | None = None) -> bytes:
    parts = [DOMAIN, b"nonce", salt, digest]
    return sha256(encoded(*parts, *([blueprint] if blueprint else [])))


def commitment(key: bytes, scheme: str, drawn: bytes) -> str:
    return sha256(encoded(DOMAIN, b"commitment", drawn, scheme.encode(), key)).hex()
