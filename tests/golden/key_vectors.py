"""The golden vectors of `docs/spec/key-v0.md`, by the reference implementation.

Written by: `python -m tests.golden.key_vectors > docs/spec/vectors/key-v0.json`. That is only
right together with another version of the key: vectors that were published stay.
"""

import hashlib
import json
import math
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.golden import reference_key as reference
from tests.golden.reference_key import Array, Bytes, Entry

FILE = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "key-v0.json"

ROOT, OWNER, SALT = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
CLASSES, CARRIERS, BITS, TRIGGERS, NEURONS = 7, 4, 16, 50, 24
QUERIES, SOURCES = 100, 20
LABEL = "example"


def sample(number: int) -> list[float]:
    """Sample i: float32 (v, -v/8) for v = i mod 400, so that the last twenty occur twice."""
    value = number % 400
    return [float(value), -value / 8]


def label(number: int) -> int:
    """Class 6 is too rare to carry bits: 7 samples."""
    value = number % 400
    return 6 if value % 60 == 0 else value % 6


def parent_outputs(number: int) -> list[float]:
    """Of the made-up parent at candidate c: ((3 c + 5 k) mod 7) / 2 - 1 for class k."""
    return [((3 * number + 5 * k) % 7) / 2 - 1 for k in range(CLASSES)]


def packed(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def words(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def manifest() -> list[Entry]:
    return [
        Entry(reference.sample_digest("float32", [2], packed(sample(number))), label(number))
        for number in range(420)
    ]


def activation(number: int) -> list[float]:
    """Of a made-up model: neuron j rises with the sample and with j, alternating in sign."""
    return [max(0.0, (-1) ** j * sample(number)[0] * (j + 1) / 64) for j in range(NEURONS)]


def means(places: Sequence[int]) -> list[float]:
    """Mean activations of each carrier's triggers."""
    parts = [places[start : start + TRIGGERS] for start in range(0, len(places), TRIGGERS)]
    return [
        math.fsum(column) / TRIGGERS
        for part in parts
        for column in zip(*map(activation, part), strict=True)
    ]


def weight(rows: int, columns: int) -> list[list[float]]:
    """Of a made-up layer: row 1 is zero, row i else ((5 i + 3 j) mod 11 - 5) / 4 in column j."""
    return [
        [((5 * i + 3 * j) % 11 - 5) / 4 * (i != 1) for j in range(columns)] for i in range(rows)
    ]


def layers() -> list[reference.Layer]:
    """The made-up parent up to its tap: 300 columns are more than a sketch has."""
    return [
        reference.Layer(weight(5, 2), [], 0),
        reference.Layer(weight(4, 300), [], 1),
        reference.Layer(weight(NEURONS, 9), [0, 1], 2),
    ]


TAP = [2]


def whitebox_arrays(derived: reference.WhiteBox) -> dict[str, Array]:
    triggers = [value for place in derived.triggers for value in sample(place)]
    projection = [value for row in derived.projection for value in row]
    bits = bytes(bit for row in derived.bits for bit in row)
    return {
        "carriers": Array("int64", (CARRIERS,), words(derived.carriers)),
        "triggers": Array("float32", (CARRIERS * TRIGGERS, 2), packed(triggers)),
        "trigger_indices": Array("int64", (CARRIERS * TRIGGERS,), words(derived.triggers)),
        "projection": Array("float32", (NEURONS, BITS), packed(projection)),
        "bits": Array("int8", (CARRIERS, BITS), bits),
        "means": Array("float32", (CARRIERS, NEURONS), packed(means(derived.triggers))),
    }


def vectors() -> dict[str, object]:
    entries = manifest()
    subkeys = {name: reference.subkey(ROOT, OWNER, name) for name in ("whitebox", "blackbox")}
    root = reference.manifest_root(entries)
    keys = {name: reference.scheme_key(key, OWNER, root) for name, key in subkeys.items()}
    stream = reference.purpose(keys["whitebox"], "example")
    return {
        "encoding": {"parts": ["6162", "", "63"], "encoded": _encoded("6162", "", "63")},
        "keys": {
            "root": ROOT.hex(),
            "owner": OWNER.hex(),
            "subkeys": {name: key.hex() for name, key in subkeys.items()},
            "scheme_keys": {name: key.hex() for name, key in keys.items()},
            "purposes": {
                scheme: {name: reference.purpose(keys[scheme], name).hex() for name in names}
                for scheme, names in {
                    "whitebox": ["carriers", "triggers", "projection", "signature", "example"],
                    "blackbox": ["sources", "queries", "labels"],
                }.items()
            },
        },
        "streams": _streams(stream),
        "samples": _samples(),
        "manifest": {
            "samples": 420,
            "root": root,
            "lowest": {
                "key": stream.hex(),
                "of_all": reference.lowest(entries, stream, 12),
                "of_class_6": reference.lowest(entries, stream, 12, 6),
            },
        },
        "whitebox": _whitebox(subkeys["whitebox"], keys["whitebox"], entries),
        "blackbox": _blackbox(keys["blackbox"], entries),
    }


def _encoded(*parts: str) -> str:
    return reference.encoded(*(bytes.fromhex(part) for part in parts)).hex()


def _streams(key: bytes) -> dict[str, object]:
    """Each from a stream of its own, but the last."""
    many = 2**64 // 5 + 1
    joined = Bytes(key, LABEL)
    table = packed([reference.grid(word) / 4096 for word in range(65536)])
    return {
        "key": key.hex(),
        "label": LABEL,
        "bytes": Bytes(key, LABEL).take(48).hex(),
        "bits": Bytes(key, LABEL).bits(20),
        "integers_below_1000": Bytes(key, LABEL).integers(8, 1000),
        # A fifth of all words is rejected.
        "integers_below_3689348814741910324": Bytes(key, LABEL).integers(24, many),
        "uniforms": Bytes(key, LABEL).uniforms(4),
        "gaussians_2x3": Bytes(key, LABEL).gaussians(2, 3),
        "permutation_of_10": Bytes(key, LABEL).permutation(10),
        "one_after_the_other": {
            "bits_3": joined.bits(3),
            "integers_2_below_7": joined.integers(2, 7),
            "uniforms_1": joined.uniforms(1),
            "gaussians_1x2": joined.gaussians(1, 2),
        },
        "gaussian_table_sha256": hashlib.sha256(table).hexdigest(),
    }


def _samples() -> list[dict[str, object]]:
    given = [
        ("float32", [2], packed(sample(3))),
        ("float32", [1, 2, 2], packed([0.0, -0.0, 1.5, -2.25])),
        ("uint8", [4], bytes([0, 1, 2, 255])),
        ("int64", [], words([-1])),
    ]
    return [
        {
            "type": kind,
            "shape": shape,
            "values": values.hex(),
            "digest": reference.sample_digest(kind, shape, values).hex(),
        }
        for kind, shape, values in given
    ]


def _whitebox(subkey: bytes, key: bytes, entries: Sequence[Entry]) -> dict[str, object]:
    derived = reference.whitebox(
        key,
        entries,
        classes=CLASSES,
        carriers=CARRIERS,
        bits=BITS,
        triggers=TRIGGERS,
        neurons=NEURONS,
    )
    arrays, meta = whitebox_arrays(derived), {"classes": CLASSES, "scale": 1.5e-07}
    digest = reference.secret_digest("whitebox", meta, arrays)
    nonce = reference.nonce(SALT, digest)
    blueprint = reference.blueprint_digest(layers(), TAP)
    bound = reference.nonce(SALT, digest, blueprint)
    suspect = [activation(place) for place in derived.triggers]
    return {
        "parameters": {
            "classes": CLASSES,
            "carriers": CARRIERS,
            "bits": BITS,
            "triggers": TRIGGERS,
            "neurons": NEURONS,
        },
        "carriers": derived.carriers,
        "triggers": derived.triggers,
        "projection_first_row": derived.projection[0],
        "projection_sha256": hashlib.sha256(arrays["projection"].values).hexdigest(),
        "bits": derived.bits,
        "reading": {
            "activation": "max(0, (-1)**j v (j + 1) / 64) of neuron j, v the sample's first value",
            "bits": reference.read_bits(suspect, CARRIERS, derived.projection),
        },
        "commitment": {
            "meta": json.dumps(meta, sort_keys=True),
            "digest": digest.hex(),
            "salt": SALT.hex(),
            "nonce": nonce.hex(),
            "commitment": reference.commitment(subkey, "whitebox", nonce),
        },
        "commitment_with_blueprint": {
            "layers": "((5 i + 3 j) mod 11 - 5) / 4 of row i, column j; 0 of row 1",
            "shapes": [[len(layer.weight), len(layer.weight[0])] for layer in layers()],
            "reads": [layer.reads for layer in layers()],
            "computes": [layer.computes for layer in layers()],
            "tap": TAP,
            "digest": blueprint.hex(),
            "nonce": bound.hex(),
            "commitment": reference.commitment(subkey, "whitebox", bound),
        },
    }


def _blackbox(key: bytes, entries: Sequence[Entry]) -> dict[str, object]:
    kept = [2 * place + place % 2 for place in range(QUERIES)]
    parent = [parent_outputs(number) for number in kept]
    chosen = reference.sources(key, entries, SOURCES)
    values = [sample(place) for place in chosen]
    return {
        "parameters": {"classes": CLASSES, "queries": QUERIES, "sources": SOURCES},
        "sources": chosen,
        "kept": kept,
        "parent_outputs": "((3 c + 5 k) mod 7) / 2 - 1 of class k at candidate c",
        "parent_classes": [reference.first_largest(row) for row in parent],
        "choice": reference.choice(kept, parent).hex(),
        "labels": reference.labels(key, kept, parent),
        "families": {
            family: _family(family, key, kept, values)
            for family in ("salt", "noise", "blend", "noisy_blend", "flipped")
        },
    }


def _family(
    family: str, key: bytes, kept: Sequence[int], values: Sequence[Sequence[float]]
) -> dict[str, str]:
    made = [packed(reference.query(family, key, number, values, [2])) for number in kept]
    return {
        "query_1": made[1].hex(),
        "queries_sha256": hashlib.sha256(b"".join(made)).hexdigest(),
    }


def rendered() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(rendered())
