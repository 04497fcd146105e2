"""The golden vectors of `docs/spec/key-v1.md`, by the reference implementation.

Written by: `python -m tests.golden.key_vectors_v1 > docs/spec/vectors/key-v1.json`. That is only
right together with another version of the key: vectors that were published stay. What is drawn is
written exactly, what is read from a suspect to nine digits.
"""

import hashlib
import json
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tests.golden import key_vectors as v0
from tests.golden import reference_key_v1 as reference
from tests.golden.reference_v1.cells import Floats, Probes
from tests.golden.reference_v1.spread import Matrix

FILE = Path(__file__).parents[2] / "docs" / "spec" / "vectors" / "key-v1.json"

PURPOSES = {
    "whitebox": ["carriers", "triggers", "projection", "signature", "example"],
    "blackbox": ["sources", "queries", "labels"],
    "spread": ["patterns"],
    "cells": ["samples", "directions", "signs"],
}
KEPT = [2 * place + place % 2 for place in range(v0.QUERIES)]
# The second as it would be of a transposed parameter; the fourth is zero and no part; the last is
# a triangle, whose rows and columns are not even after any number of rounds.
MATRICES: list[Matrix] = [
    ("0.weight", 0, 5, 2, False),
    ("layers.1's.weight", 1, 4, 300, True),
    ("2.weight", 2, v0.NEURONS, 9, False),
    ("3.weight", -1, 2, 2, False),
    ("4.weight", -1, 6, 6, False),
]
DEPTH = 2
PROBES, POOL, COMPONENTS, CELLS, MARGIN = 100, 120, 2, 7, 1.5
OUTPUTS = {"classification": 7, "regression": 1, "embedding": 8}
CONTRASTED = [[(kind + step) % 7 for step in (3, 1, 2, 5)] for kind in range(7)]


def features(place: int) -> list[float]:
    """Of sample i: ((7 i + 3 j + i j) mod 13 - 6) / 4 of component j."""
    return [((7 * place + 3 * j + place * j) % 13 - 6) / 4 for j in range(COMPONENTS)]


def outputs(place: int, count: int) -> list[float]:
    """Of the made-up parent at sample i: ((3 i + 5 k + i k) mod 11) / 2 - 2 of output k."""
    return [((3 * place + 5 * k + place * k) % 11) / 2 - 2 for k in range(count)]


def answered(place: int, count: int) -> list[float]:
    """Of the made-up suspect: the parent's and ((5 i i + 7 k + i k) mod 17) / 32."""
    moved = [((5 * place * place + 7 * k + place * k) % 17) / 32 for k in range(count)]
    return [a + b for a, b in zip(outputs(place, count), moved, strict=True)]


def weights() -> list[Floats]:
    """Of the made-up suspect: row i, column j ((5 i + 3 j + i j) mod 11 - 5) / 4.

    The fourth is 0, the last 1 where j <= i and 0 elsewhere.
    """
    found = [
        np.array(
            [[((5 * i + 3 * j + i * j) % 11 - 5) / 4 for j in range(columns)] for i in range(rows)]
        )
        for _, _, rows, columns, _ in MATRICES
    ]
    return [*found[:3], np.zeros_like(found[3]), np.tril(np.ones_like(found[4]))]


def ordinary(places: Sequence[int], classes: int) -> list[list[float]]:
    """The parent's outputs for the sources."""
    return [outputs(place, classes) for place in places]


def two_classes() -> list[list[float]]:
    """The parent's outputs at the candidates that were kept, where there are two classes."""
    return [v0.parent_outputs(number)[:2] for number in KEPT]


def probes(task: str, places: Sequence[int]) -> Probes:
    count, classes = OUTPUTS[task], task == "classification"
    given = [outputs(place, count) for place in places]
    spread = np.array(given, dtype=np.float32).std(axis=0)
    return Probes(
        task=task,
        margin=MARGIN,
        indices=places,
        groups=[v0.label(place) for place in places],
        features=[features(place) for place in places],
        outputs=given,
        scales=[1.0] * count if classes else [float(value) for value in spread],
        contrasted=CONTRASTED if classes else (),
    )


def suspects(task: str, places: Sequence[int]) -> dict[str, Floats]:
    """The made-up suspect's answers, in each form that the reference reads."""
    logits = np.array([answered(place, OUTPUTS[task]) for place in places])
    if task != "classification":
        return {"vectors": logits}
    powers = np.exp(logits)
    found = {
        "logits": logits,
        "probabilities": powers / powers.sum(axis=1)[:, None],
        "probabilities_of_their_own": 1 / (1 + np.exp(-logits)),
        "labels": np.eye(OUTPUTS[task])[logits.argmax(axis=1)],
    }
    # As a file gives them.
    return {form: values.astype(np.float32).astype(float) for form, values in found.items()}


def keys() -> tuple[dict[str, bytes], dict[str, bytes]]:
    subkeys = {name: reference.subkey(v0.ROOT, v0.OWNER, name) for name in PURPOSES}
    root = reference.manifest_root(v0.manifest())
    bound = {name: reference.scheme_key(key, v0.OWNER, root) for name, key in subkeys.items()}
    return subkeys, bound


def vectors() -> dict[str, object]:
    before = v0.vectors()
    blackbox = before["blackbox"]
    assert isinstance(blackbox, dict)
    subkeys, bound = keys()
    return {
        "key_version": 1,
        **{name: before[name] for name in ("encoding", "streams", "samples", "manifest")},
        "keys": {
            "root": v0.ROOT.hex(),
            "owner": v0.OWNER.hex(),
            "subkeys": {name: key.hex() for name, key in subkeys.items()},
            "scheme_keys": {name: key.hex() for name, key in bound.items()},
            "purposes": {
                scheme: {name: reference.purpose(bound[scheme], name).hex() for name in names}
                for scheme, names in PURPOSES.items()
            },
        },
        "whitebox": _whitebox(bound["whitebox"]),
        "blackbox": {**_blackbox(bound["blackbox"]), "families": blackbox["families"]},
        "spread": _spread(bound["spread"]),
        "cells": {task: _cells(task, bound["cells"]) for task in OUTPUTS},
        "commitment": _commitment(subkeys["spread"], bound["spread"]),
    }


def blueprint() -> bytes:
    """The digest of the made-up parent's, whose tap stands in front of its last layer."""
    return reference.blueprint_digest(v0.layers(), v0.TAP, DEPTH)


def whitebox(key: bytes) -> reference.WhiteBox:
    return reference.whitebox(
        key,
        v0.manifest(),
        classes=v0.CLASSES,
        carriers=v0.CARRIERS,
        bits=v0.BITS,
        triggers=v0.TRIGGERS,
        neurons=v0.NEURONS,
        blueprint=blueprint(),
    )


def _whitebox(key: bytes) -> dict[str, object]:
    derived = whitebox(key)
    suspect = [v0.activation(place) for place in derived.triggers]
    return {
        "parameters": {
            "classes": v0.CLASSES,
            "carriers": v0.CARRIERS,
            "bits": v0.BITS,
            "triggers": v0.TRIGGERS,
            "neurons": v0.NEURONS,
        },
        "blueprint": blueprint().hex(),
        "carriers": derived.carriers,
        "triggers": derived.triggers,
        "projection_first_row": derived.projection[0],
        "projection_sha256": _sha256(value for row in derived.projection for value in row),
        "bits": derived.bits,
        "reading": {
            "activation": "max(0, (-1)**j v (j + 1) / 64) of neuron j, v the sample's first value",
            "bits": reference.read_bits(suspect, v0.CARRIERS, derived.projection),
        },
    }


def _blackbox(key: bytes) -> dict[str, object]:
    parent = [v0.parent_outputs(number) for number in KEPT]
    chosen = reference.sources(key, v0.manifest(), v0.SOURCES)
    given, two = ordinary(chosen, v0.CLASSES), ordinary(chosen, 2)
    return {
        "parameters": {"classes": v0.CLASSES, "queries": v0.QUERIES, "sources": v0.SOURCES},
        "sources": chosen,
        "kept": KEPT,
        "parent_outputs": "((3 c + 5 k) mod 7) / 2 - 1 of class k at candidate c",
        "source_outputs": "((3 i + 5 k + i k) mod 11) / 2 - 2 of class k at sample i",
        "choice": reference.choice(KEPT, parent, given).hex(),
        "labels": reference.labels(key, KEPT, parent, given),
        "two_classes": {
            "outputs": "the first two of each row",
            "choice": reference.choice(KEPT, two_classes(), two).hex(),
            "labels": reference.labels(key, KEPT, two_classes(), two),
        },
    }


def _spread(key: bytes) -> dict[str, object]:
    drawn = reference.spread.pattern_key(key, blueprint())
    patterns = [reference.spread.pattern(drawn, MATRICES, place) for place in range(len(MATRICES))]
    suspect = [weight.astype(np.float32) for weight in weights()]
    found = [
        reference.spread.deviation(weight, pattern)
        for weight, pattern in zip(suspect, patterns, strict=True)
    ]
    size, parts = reference.spread.together(found)
    return {
        "matrices": MATRICES,
        "list": reference.spread.matrix_list(MATRICES),
        "blueprint": {
            "layers": "as of the white box",
            "tap": v0.TAP,
            "depth": DEPTH,
            "digest": blueprint().hex(),
        },
        "pattern_key": drawn.hex(),
        "pattern_key_without_layers": reference.spread.pattern_key(key, _no_layers()).hex(),
        "patterns": [
            {"first_row": pattern[0][:8], "sha256": _sha256(v for row in pattern for v in row)}
            for pattern in patterns
        ],
        "reading": {
            "weights": "((5 i + 3 j + i j) mod 11 - 5) / 4 of row i, column j; the fourth is 0, "
            "the last 1 where j <= i and 0 elsewhere",
            "deviations": [_nine(value) for value in found],
            "together": _nine(size),
            "parts": parts,
        },
    }


def _no_layers() -> bytes:
    shapes = {"rows": (0, 256), "norms": (0,), "layers": (0, 3), "tap": (0,)}
    parts = ((name.encode(), str(shape).encode(), b"") for name, shape in shapes.items())
    return reference.sha256(reference.encoded(*(piece for part in parts for piece in part)))


def _cells(task: str, key: bytes) -> dict[str, object]:
    cells = reference.cells
    chosen = cells.samples(key, v0.manifest(), PROBES, POOL)
    given = probes(task, chosen[:PROBES])
    along = cells.directions(key, given)
    signs = cells.signs(key, given, CELLS, COMPONENTS, len(along[0]))
    readings = {}
    for form, values in suspects(task, chosen[:PROBES]).items():
        found = cells.weights(key, given, values, CELLS).ravel()
        readings[form] = {
            "first_weights": [_nine(value) for value in found[:6]],
            "sum": _nine(float(found @ signs)),
            "matches": int((found * signs > 0).sum()),
        }
    return {
        "parameters": {
            "probes": PROBES,
            "pool": POOL,
            "components": COMPONENTS,
            "cells": CELLS,
            "margin": MARGIN,
            "outputs": OUTPUTS[task],
        },
        "probes": chosen[:PROBES],
        "pool": chosen[PROBES:],
        "features": "((7 i + 3 j + i j) mod 13 - 6) / 4 of component j of sample i",
        "outputs": "((3 i + 5 k + i k) mod 11) / 2 - 2 of output k at sample i",
        "contrasted": CONTRASTED if task == "classification" else None,
        "scales": [_nine(value) for value in given.scales],
        "directions_of_kind_0": [[_nine(value) for value in row] for row in along[0]],
        "sizes": cells.sizes(given)[:12],
        "choice": cells.choice(given).hex(),
        "signs": signs,
        "suspect": "the parent's outputs and ((5 i i + 7 k + i k) mod 17) / 32",
        "readings": readings,
    }


def spread_arrays(key: bytes) -> dict[str, reference.Array]:
    rows = sum(matrix[2] for matrix in MATRICES)
    drawn = reference.spread.pattern_key(key, blueprint())
    return {
        "signs": reference.Array("int8", (rows,), struct.pack(f"{rows}b", *signs_of_rows())),
        "blueprint": reference.Array("uint8", (32,), blueprint()),
        "pattern_key": reference.Array("uint8", (32,), drawn),
    }


def signs_of_rows() -> list[int]:
    """Every third row stands the other way round in the file."""
    return [-1 if row % 3 == 2 else 1 for row in range(sum(matrix[2] for matrix in MATRICES))]


def _commitment(subkey: bytes, key: bytes) -> dict[str, object]:
    meta = {"strength": 0.05, "matrices": [list(matrix) for matrix in MATRICES], "key_version": 1}
    digest = reference.secret_digest("spread", meta, spread_arrays(key))
    nonce = reference.nonce(v0.SALT, digest, blueprint())
    return {
        "scheme": "spread",
        "meta": json.dumps(meta, sort_keys=True),
        "signs": "-1 of every third row, else 1",
        "digest": digest.hex(),
        "salt": v0.SALT.hex(),
        "nonce": nonce.hex(),
        "commitment": reference.commitment(subkey, "spread", nonce),
    }


def _sha256(values: Iterable[float]) -> str:
    return hashlib.sha256(np.fromiter(values, "<f4").tobytes()).hexdigest()


def _nine(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")


def rendered() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(rendered())
