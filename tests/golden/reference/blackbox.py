"""Section 7: sources and labels of the black box, and how answers are read."""

import math
import struct
from collections.abc import Sequence

from tests.golden.reference.keys import DOMAIN, encoded, purpose, sha256
from tests.golden.reference.manifest import Entry, lowest
from tests.golden.reference.scalar import dot
from tests.golden.reference.stream import Bytes


def sources(key: bytes, entries: Sequence[Entry], count: int) -> list[int]:
    return lowest(entries, purpose(key, "sources"), count)


Rows = Sequence[Sequence[float]]


def choice(kept: Sequence[int], parent: Rows, ordinary: Rows | None = None) -> bytes:
    """Of version 1 the parent's outputs for the sources are the third part, of version 0 none."""
    numbers = b"".join(number.to_bytes(8, "little") for number in kept)
    given = [parent] if ordinary is None else [parent, ordinary]
    outputs = (b"".join(struct.pack("<f", v) for row in rows for v in row) for rows in given)
    return sha256(encoded(DOMAIN, b"choice", numbers, *outputs))


def first_largest(row: Sequence[float]) -> int:
    return list(row).index(max(row))


def labels(
    key: bytes, kept: Sequence[int], parent: Rows, ordinary: Rows | None = None
) -> list[int]:
    classes = len(parent[0])
    stream = Bytes(purpose(key, "labels"), f"labels {choice(kept, parent, ordinary).hex()}")
    steps = stream.integers(len(kept), 2 if classes == 2 else classes - 1)
    return [
        (first_largest(row) + 1 + step) % classes for row, step in zip(parent, steps, strict=True)
    ]


def centred(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Columns, after the mean of each row and then of each column was taken out."""
    level = [[value - math.fsum(row) / len(row) for value in row] for row in rows]
    return [
        [value - math.fsum(column) / len(column) for value in column]
        for column in zip(*level, strict=True)
    ]


def answers(outputs: Sequence[Sequence[float]], parent: Sequence[Sequence[float]]) -> list[int]:
    """For finite logits, and a parent of no higher rank than K div 20: then the span is enough."""
    span: list[list[float]] = []
    rest = centred(outputs)
    for column in centred(parent):
        left = column
        for _ in range(2):
            for unit in span:
                share = dot(left, unit)
                left = [value - share * part for value, part in zip(left, unit, strict=True)]
        length = math.sqrt(dot(left, left))
        if length > 1e-6 * math.sqrt(dot(column, column)):
            span.append([value / length for value in left])
    for unit in span:
        shares = [dot(column, unit) for column in rest]
        rest = [
            [value - share * part for value, part in zip(column, unit, strict=True)]
            for column, share in zip(rest, shares, strict=True)
        ]
    found = []
    for place, row in enumerate(parent):
        others = [
            label for label in range(len(row)) if len(row) == 2 or label != first_largest(row)
        ]
        found.append(max(others, key=lambda label: rest[label][place]))
    return found
