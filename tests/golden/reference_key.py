"""The key of `docs/spec/key-v0.md`, written from that page alone.

Another implementation than the package's, on purpose: the standard library, whole numbers and
Python's doubles, one value at a time, nothing fast. It must not import `deepsigns_registry`.
"""

import hashlib
import hmac
import json
import math
import struct
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

DOMAIN = b"deepsigns-registry/v0"
PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def sha256(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


# Section 2


def encoded(*parts: bytes) -> bytes:
    joined = b""
    for part in parts:
        joined += len(part).to_bytes(8, "big") + part
    return joined


# Section 3


def subkey(root: bytes, owner: bytes, scheme: str) -> bytes:
    info = encoded(DOMAIN, b"subkey", owner, scheme.encode())
    return mac(mac(DOMAIN, root), info + b"\x01")


def scheme_key(key: bytes, owner: bytes, root_of_manifest: str) -> bytes:
    info = encoded(DOMAIN, b"scheme", owner, bytes.fromhex(root_of_manifest))
    return mac(key, info + b"\x01")


def purpose(key: bytes, name: str) -> bytes:
    return mac(key, encoded(DOMAIN, b"purpose", name.encode()) + b"\x01")


# Section 4


class Bytes:
    def __init__(self, key: bytes, label: str) -> None:
        self.hashed = hashlib.shake_256(encoded(DOMAIN, b"stream", label.encode(), key))
        self.given = b""
        self.place = 0

    def take(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self.given):
            self.given = self.hashed.digest(2 * self.place)
        return self.given[self.place - count : self.place]

    def word(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def bits(self, count: int) -> list[int]:
        taken = self.take((count + 7) // 8)
        return [taken[place // 8] >> (place % 8) & 1 for place in range(count)]

    def integers(self, count: int, below: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            word = self.word(8)
            if word < 2**64 - 2**64 % below:
                found.append(word % below)
        return found

    def uniforms(self, count: int) -> list[float]:
        return [self.word(3) / 2**24 for _ in range(count)]

    def gaussians(self, rows: int, columns: int) -> list[list[float]]:
        return [[grid(self.word(2)) / 4096 for _ in range(columns)] for _ in range(rows)]

    def permutation(self, count: int) -> list[int]:
        order = list(range(count))
        for place in range(count - 1, 0, -1):
            other = self.integers(1, place + 1)[0]
            order[place], order[other] = order[other], order[place]
        return order


def normal_share(x: Decimal) -> Decimal:
    """P(X <= x), to some 20 digits: Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ...)."""
    term = total = x
    odd = 1
    while term > Decimal("1e-22"):
        odd += 2
        term = term * x * x / odd
        total += term
    return Decimal("0.5") + (-x * x / 2).exp() / (2 * PI).sqrt() * total


@cache
def edges() -> list[Decimal]:
    """Where g changes: entry i is the word, not whole, whose 4096 q is i + 1/2."""
    with localcontext() as context:
        context.prec = 28
        found: list[Decimal] = []
        while not found or found[-1] < 65535:
            x = (len(found) + Decimal("0.5")) / 4096
            found.append(65536 * normal_share(x) - Decimal("0.5"))
        return found


def grid(word: int) -> int:
    if word < 32768:
        return -grid(65535 - word)
    return bisect_right(edges(), Decimal(word))


# Section 5


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


# Section 6


@dataclass(frozen=True)
class WhiteBox:
    carriers: list[int]
    triggers: list[int]
    projection: list[list[float]]
    bits: list[list[int]]


def whitebox(
    key: bytes,
    entries: Sequence[Entry],
    *,
    classes: int,
    carriers: int,
    bits: int,
    triggers: int,
    neurons: int,
) -> WhiteBox:
    order = Bytes(purpose(key, "carriers"), "classes").permutation(classes)
    chosen = [label for label in order if len(different(entries, label)) >= triggers][:carriers]
    drawn = Bytes(purpose(key, "signature"), "b").bits(carriers * bits)
    return WhiteBox(
        carriers=chosen,
        triggers=[
            place
            for label in chosen
            for place in lowest(entries, purpose(key, "triggers"), triggers, label)
        ],
        projection=Bytes(purpose(key, "projection"), "A").gaussians(neurons, bits),
        bits=[drawn[row * bits : row * bits + bits] for row in range(carriers)],
    )


def read_bits(
    activation: Sequence[Sequence[float]], carriers: int, projection: Sequence[Sequence[float]]
) -> list[list[int]]:
    """The bits of a suspect's activations on the triggers, one row a trigger."""
    each, found = len(activation) // carriers, []
    for carrier in range(carriers):
        rows = activation[carrier * each : carrier * each + each]
        mean = [math.fsum(column) / each for column in zip(*rows, strict=True)]
        offset = math.fsum(mean) / len(mean)
        products = (
            math.fsum((value - offset) * entry for value, entry in zip(mean, column, strict=True))
            for column in zip(*projection, strict=True)
        )
        found.append([int(product > 0) for product in products])
    return found


# Section 7


def sources(key: bytes, entries: Sequence[Entry], count: int) -> list[int]:
    return lowest(entries, purpose(key, "sources"), count)


def choice(kept: Sequence[int], parent: Sequence[Sequence[float]]) -> bytes:
    numbers = b"".join(number.to_bytes(8, "little") for number in kept)
    outputs = b"".join(struct.pack("<f", value) for row in parent for value in row)
    return sha256(encoded(DOMAIN, b"choice", numbers, outputs))


def first_largest(row: Sequence[float]) -> int:
    return list(row).index(max(row))


def labels(key: bytes, kept: Sequence[int], parent: Sequence[Sequence[float]]) -> list[int]:
    classes = len(parent[0])
    stream = Bytes(purpose(key, "labels"), f"labels {choice(kept, parent).hex()}")
    steps = stream.integers(len(kept), classes - 1)
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


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


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
        others = [label for label in range(len(row)) if label != first_largest(row)]
        found.append(max(others, key=lambda label: rest[label][place]))
    return found


# Section 7.1


def ranges(
    chosen: Sequence[Sequence[float]], shape: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Smallest and largest value that each element may have."""
    size = math.prod(shape)
    together = {1: 1, 2: size}.get(len(shape), size // shape[0])
    low, high = [], []
    for place in range(size):
        start = place // together * together
        among = [value for source in chosen for value in source[start : start + together]]
        low.append(min(among))
        high.append(max(among))
    return low, high


def query(
    family: str, key: bytes, number: int, chosen: Sequence[Sequence[float]], shape: Sequence[int]
) -> list[float]:
    """One candidate before it is rounded to float32, from the elements of all sources."""
    stream = Bytes(purpose(key, "queries"), f"query {number}")
    low, high = ranges(chosen, shape)
    size = len(low)

    def noise() -> list[float]:
        drawn = stream.uniforms(size)
        return [low[e] + drawn[e] * (high[e] - low[e]) for e in range(size)]

    def blend() -> list[float]:
        a = stream.integers(1, len(chosen))[0]
        b = (a + 1 + stream.integers(1, len(chosen) - 1)[0]) % len(chosen)
        w = 0.35 + 0.3 * stream.uniforms(1)[0]
        return [w * chosen[a][e] + (1 - w) * chosen[b][e] for e in range(size)]

    if family == "noise":
        return noise()
    if family == "blend":
        return blend()
    if family == "noisy_blend":
        mixed = blend()
        return [(1 - 0.6) * one + 0.6 * other for one, other in zip(mixed, noise(), strict=True)]
    if family == "flipped":
        x = chosen[stream.integers(1, len(chosen))[0]]
        u = stream.uniforms(size)
        return [low[e] + high[e] - x[e] if u[e] < 0.1 else x[e] for e in range(size)]
    u, v = stream.uniforms(size), stream.uniforms(size)
    made = []
    for e in range(size):
        quiet = min(max(0.0, low[e]), high[e])
        end = high[e] if v[e] * (high[e] - low[e]) < high[e] - quiet else low[e]
        made.append(end if u[e] < min(0.5, max(0.1, 16 / size)) else quiet)
    return made


# Section 8


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


def blueprint_digest(layers: Sequence[Layer], tap: Sequence[int]) -> bytes:
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
    described = ((name.encode(), str(shape).encode(), content) for name, shape, content in parts)
    return sha256(encoded(*(piece for part in described for piece in part)))


def nonce(salt: bytes, digest: bytes, blueprint: bytes | None = None) -> bytes:
    parts = [DOMAIN, b"nonce", salt, digest]
    return sha256(encoded(*parts, *([blueprint] if blueprint else [])))


def commitment(key: bytes, scheme: str, drawn: bytes) -> str:
    return sha256(encoded(DOMAIN, b"commitment", drawn, scheme.encode(), key)).hex()
