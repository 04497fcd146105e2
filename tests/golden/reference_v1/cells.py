"""Version 1, section 9: directions and signs of `cells`, and how answers are read."""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.golden.reference.blackbox import first_largest
from tests.golden.reference.keys import DOMAIN, encoded, purpose, sha256
from tests.golden.reference.manifest import Entry, lowest
from tests.golden.reference.stream import Bytes

Rows = Sequence[Sequence[float]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Probes:
    """What the choice hashes, of the probes; no contrasted classes of a model without classes."""

    task: str
    margin: float
    indices: Sequence[int]
    groups: Sequence[int]
    features: Rows
    outputs: Rows
    scales: Sequence[float]
    contrasted: Sequence[Sequence[int]] = ()

    @property
    def kinds(self) -> list[int]:
        classes = self.task == "classification"
        return [first_largest(row) if classes else 0 for row in self.outputs]

    @property
    def cells(self) -> list[int]:
        of = self.kinds if self.task == "classification" else self.groups
        return [number % 16 for number in of]


def samples(key: bytes, entries: Sequence[Entry], probes: int, pool: int) -> list[int]:
    return lowest(entries, purpose(key, "samples"), probes + pool)


def choice(probes: Probes) -> bytes:
    parts = [
        _words(probes.indices),
        _words(probes.groups),
        _floats(value for row in probes.features for value in row),
        _floats(value for row in probes.outputs for value in row),
        _floats(probes.scales),
    ]
    if probes.contrasted:
        parts.append(_words([number for row in probes.contrasted for number in row]))
    plain = (probes.task.encode(), repr(probes.margin).encode())
    return sha256(encoded(DOMAIN, b"cells", *plain, *parts))


def _words(numbers: Sequence[int]) -> bytes:
    return b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)


def _floats(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack("<f", value) for value in values)


def hadamard(order: int) -> list[list[int]]:
    """Sylvester's: entry i, j is -1 to the number of bits that i and j have in common."""
    return [[(-1) ** (i & j).bit_count() for j in range(order)] for i in range(order)]


def directions(key: bytes, probes: Probes) -> list[list[list[float]]]:
    """For each kind; as float32 values."""
    outputs = len(probes.outputs[0])
    if probes.task == "classification":
        found = []
        for chosen in probes.contrasted:
            rows = []
            for signs in hadamard(len(chosen))[1:]:
                row = [0.0] * outputs
                for place, sign in zip(chosen, signs, strict=True):
                    row[place] = _rounded(sign / math.sqrt(len(chosen)))
                rows.append(row)
            found.append(rows)
        return found
    if outputs == 1:
        return [[[1.0]]]
    drawn = Bytes(purpose(key, "directions"), "directions").gaussians(min(7, outputs), outputs)
    units: list[list[float]] = []
    for row in drawn:
        rest = list(row)
        for unit in units:
            share = math.fsum(a * b for a, b in zip(row, unit, strict=True))
            rest = [a - share * b for a, b in zip(rest, unit, strict=True)]
        length = math.sqrt(math.fsum(a * a for a in rest))
        units.append([a / length for a in rest])
    return [[[_rounded(a) for a in unit] for unit in units]]


def _rounded(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def signs(key: bytes, probes: Probes, cells: int, components: int, count: int) -> list[int]:
    label = f"signs {(cells, components, count)} {choice(probes).hex()}"
    drawn = Bytes(purpose(key, "signs"), label).bits(cells * components * count)
    return [2 * bit - 1 for bit in drawn]


def sizes(probes: Probes) -> list[float]:
    if probes.task != "classification":
        return [_rounded(0.015 * probes.margin)] * len(probes.outputs)
    found = []
    for row, kind in zip(probes.outputs, probes.kinds, strict=True):
        others = [row[place] for place in probes.contrasted[kind] if place != kind]
        found.append(_rounded(min(probes.margin, 0.5 * (max(row) - max(others)))))
    return found


def basis(given: Floats) -> Floats:
    count = len(given)
    left, lengths, _ = np.linalg.svd(given - given.mean(axis=0), full_matrices=False)
    used = int((lengths > 1e-6 * lengths[0]).sum()) if lengths[0] > 0 else 0
    used = min(used, max(1, count // 20 - 1))
    return np.column_stack([np.full(count, count**-0.5), left[:, :used]])


def residual(outputs: Floats, probes: Probes) -> Floats:
    """Of labels, of logits or probabilities that are all known, and of vectors that are finite."""
    parent = np.array(probes.outputs, dtype=float)
    if probes.task != "classification":
        scaled: Floats = _cut(_without(outputs, basis(parent))) / np.array(probes.scales)
        return scaled
    if ((outputs != 0).sum(axis=1) == 1).all() and (outputs >= 0).all():
        p = parent - parent.max(axis=1)[:, None]
        q = np.exp(p) / np.exp(p).sum(axis=1)[:, None]
        return _without(outputs, basis(np.column_stack([p, q])))
    if (outputs > 0).all() and (abs(outputs.sum(axis=1) - 1) <= 1e-3).all():
        outputs = np.log(np.maximum(outputs, 1e-30))
    elif (outputs >= 0).all() and (outputs <= 1).all():
        sure = np.clip(outputs, 1e-30, 1 - 2.0**-24)
        outputs = np.log(sure) - np.log(1 - sure)
    levelled = outputs - outputs.mean(axis=1)[:, None]
    return _cut(_without(levelled, basis(parent - parent.mean(axis=1)[:, None])))


def _without(values: Floats, columns: Floats) -> Floats:
    rest: Floats = values - columns @ (columns.T @ values)
    return rest


def _cut(values: Floats) -> Floats:
    most = 6 * 1.4826 * float(np.median(abs(values[values != 0]))) if values.any() else 0.0
    return np.minimum(np.maximum(values, -most), most)


def weights(key: bytes, probes: Probes, outputs: Floats, cells: int) -> Floats:
    """[cells, components, directions]."""
    rest, along = residual(outputs, probes), directions(key, probes)
    components, count = len(probes.features[0]), len(along[0])
    found = np.zeros((cells, components, count))
    rows = zip(probes.cells, probes.kinds, probes.features, sizes(probes), rest, strict=True)
    for cell, kind, features, size, row in rows:
        if cell < cells:
            moved = size * (np.array(along[kind]) @ row)
            found[cell] += np.outer(features, moved)
    for component in range(components):
        common = math.sqrt(float((found[:, component] ** 2).mean()))
        found[:, component] /= max(common, 1e-30)
    return found
