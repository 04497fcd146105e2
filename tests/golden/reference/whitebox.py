"""Section 6: carriers, triggers, projection and bits of the white box, and how bits are read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tests.golden.reference.keys import purpose
from tests.golden.reference.manifest import Entry, different, lowest
from tests.golden.reference.stream import Bytes


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
    blueprint: bytes | None = None,
) -> WhiteBox:
    """Of version 1 the bits are drawn from the digest of a blueprint too."""
    order = Bytes(purpose(key, "carriers"), "classes").permutation(classes)
    chosen = [label for label in order if len(different(entries, label)) >= triggers][:carriers]
    label = "b" if blueprint is None else f"b {blueprint.hex()}"
    drawn = Bytes(purpose(key, "signature"), label).bits(carriers * bits)
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
