"""Section 8 (of version 1, 10.1): the digest of a blueprint, a sketch of the parent's weights."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.golden.reference.keys import DOMAIN, encoded, sha256
from tests.golden.reference.scalar import dot
from tests.golden.reference.stream import Bytes


def sketch(row: Sequence[float]) -> tuple[list[float], float]:
    """Direction of a row of weights in 256 buckets, and its length, before they are rounded."""
    buckets = [0.0] * 256
    if len(row) <= 256:
        buckets[: len(row)] = [0.0 + value for value in row]
    else:
        stream = Bytes(sha256(encoded(DOMAIN, b"sketch")), f"columns/{len(row)}")
        places, signs = stream.integers(len(row), 256), stream.bits(len(row))
        for place, sign, value in zip(places, signs, row, strict=True):
            buckets[place] += (2 * sign - 1) * value
    length = math.sqrt(dot(buckets, buckets))
    unit = [value / length if length > 0 else 0.0 for value in buckets]
    return unit, math.sqrt(dot(row, row))


def half(value: float) -> bytes:
    """Rounded to float32 and then to float16."""
    return struct.pack("<e", *struct.unpack("<f", struct.pack("<f", value)))


@dataclass(frozen=True)
class Layer:
    weight: list[list[float]]
    reads: list[int]
    computes: int


def blueprint_digest(
    layers: Sequence[Layer], tap: Sequence[int], depth: int | None = None
) -> bytes:
    """The depth, of version 1, where some of the layers stand behind the tap."""
    sketched = [sketch(row) for layer in layers for row in layer.weight]
    most = max(len(layer.reads) for layer in layers)
    table = [
        number
        for layer in layers
        for number in (
            *(len(layer.weight), len(layer.weight[0]), layer.computes),
            *(*layer.reads, *[-1] * (most - len(layer.reads))),
        )
    ]
    parts = [
        ("rows", (len(sketched), 256), b"".join(half(v) for unit, _ in sketched for v in unit)),
        ("norms", (len(sketched),), b"".join(struct.pack("<f", length) for _, length in sketched)),
        ("layers", (len(layers), 3 + most), struct.pack(f"<{len(table)}q", *table)),
        ("tap", (len(tap),), struct.pack(f"<{len(tap)}q", *tap)),
    ]
    if depth is not None:
        parts.append(("depth", (1,), struct.pack("<q", depth)))
    described = ((name.encode(), str(shape).encode(), content) for name, shape, content in parts)
    return sha256(encoded(*(piece for part in described for piece in part)))
