"""The published vectors of version 1, the reference and the package all say the same.

What is as in version 0 is compared in `test_key.py`; here that it stands in both files alike.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepsigns_registry.watermark import blackbox
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor
from deepsigns_registry.watermark.cells import Cells
from deepsigns_registry.watermark.cells import scheme as cells
from deepsigns_registry.watermark.cells.carriers import carriers_of
from deepsigns_registry.watermark.cells.reading import (
    carrier_weights,
    class_residual,
    vector_residual,
)
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.evidence import SignSum
from deepsigns_registry.watermark.key import (
    KEY_VERSION,
    RootKey,
    commit,
    key_version,
    purpose_key,
    scheme_key,
)
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.projection import class_means
from deepsigns_registry.watermark.record import binding_nonce
from deepsigns_registry.watermark.scheme import Answers, SchemeSecret
from deepsigns_registry.watermark.spread import Spread
from deepsigns_registry.watermark.spread.pattern import pattern_of
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.golden import key_vectors as v0
from tests.golden import key_vectors_v1, reference_key_v1
from tests.golden.test_key import imports

Vectors = dict[str, Any]
TASKS = sorted(key_vectors_v1.OUTPUTS)


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    found: Vectors = json.loads(key_vectors_v1.FILE.read_text())
    return found


@pytest.fixture(scope="module")
def data() -> LabelledData:
    inputs = [v0.sample(number) for number in range(420)]
    labels = [v0.label(number) for number in range(420)]
    return LabelledData(np.array(inputs, dtype=np.float32), np.array(labels, dtype=np.int64))


def key_of(vectors: Vectors, scheme: str) -> bytes:
    return bytes.fromhex(vectors["keys"]["scheme_keys"][scheme])


def as_key(vectors: Vectors, scheme: str, purpose: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    found = bytes.fromhex(vectors["keys"]["purposes"][scheme][purpose])
    return np.frombuffer(found, dtype=np.uint8)


def alike(found: object, published: object) -> bool:
    """The same values, numbers to eight digits: sums of another processor round otherwise."""
    if isinstance(published, dict):
        return (
            isinstance(found, dict)
            and found.keys() == published.keys()
            and all(alike(found[name], value) for name, value in published.items())
        )
    if isinstance(published, list):
        return (
            isinstance(found, list)
            and len(found) == len(published)
            and all(map(alike, found, published))
        )
    if isinstance(published, float) and isinstance(found, float):
        return found == pytest.approx(published, rel=1e-8, abs=1e-8)
    return type(found) is type(published) and found == published


def test_the_reference_knows_nothing_of_the_package() -> None:
    head = Path(reference_key_v1.__file__)
    files = [
        file
        for folder in ("reference", "reference_v1")
        for file in sorted((head.parent / folder).glob("*.py"))
    ]
    assert len(files) > 9
    imported = {name for file in (head, *files) for name in imports(file)}
    parts = {name for name in imported if name.startswith("tests.golden.reference")}
    assert {name.split(".")[0] for name in imported - parts} <= {*sys.stdlib_module_names, "numpy"}


def test_the_reference_gives_the_published_vectors(vectors: Vectors) -> None:
    assert alike(json.loads(key_vectors_v1.rendered()), vectors)
    assert not alike({"a": [1.0, 2]}, {"a": [1.0, 3]})


def test_what_is_as_in_version_0_stands_in_both_alike(vectors: Vectors) -> None:
    before: Vectors = json.loads(v0.FILE.read_text())
    for name in ("encoding", "streams", "samples", "manifest"):
        assert vectors[name] == before[name]
    assert vectors["blackbox"]["families"] == before["blackbox"]["families"]
    for name in ("carriers", "triggers", "projection_sha256", "reading"):
        assert vectors["whitebox"][name] == before["whitebox"][name]
    # But bits and labels are others.
    assert vectors["whitebox"]["bits"] != before["whitebox"]["bits"]
    assert vectors["blackbox"]["labels"] != before["blackbox"]["labels"]


def test_keys(vectors: Vectors) -> None:
    keys = vectors["keys"]
    root = RootKey(bytes.fromhex(keys["root"]), bytes.fromhex(keys["owner"]))
    assert {"whitebox", "blackbox", "spread", "cells"} == keys["subkeys"].keys()
    for scheme, subkey in keys["subkeys"].items():
        assert root.subkey(scheme).hex() == subkey
        bound = scheme_key(bytes.fromhex(subkey), root.owner, vectors["manifest"]["root"])
        assert bound.hex() == keys["scheme_keys"][scheme]
        for purpose, expected in keys["purposes"][scheme].items():
            assert purpose_key(bound, purpose).hex() == expected


def test_the_white_box_of_the_vectors_is_the_package_s(
    vectors: Vectors, data: LabelledData
) -> None:
    found = vectors["whitebox"]
    assert found["blueprint"] == blueprint().digest().hex()
    derived = key_vectors_v1.whitebox(key_of(vectors, "whitebox"))
    activations = np.array([v0.activation(p) for p in found["triggers"]], dtype=np.float32)
    secret = SchemeSecret(
        "whitebox",
        {"classes": v0.CLASSES, "layout": [1, 1], "key_version": KEY_VERSION},
        {
            "carriers": np.array(found["carriers"], dtype=np.int64),
            "trigger_indices": np.array(found["triggers"], dtype=np.int64),
            "triggers": data.inputs[found["triggers"]],
            "projection": np.array(derived.projection, dtype=np.float32),
            "bits": np.array(found["bits"], dtype=np.int8),
            "blueprint": np.frombuffer(bytes.fromhex(found["blueprint"]), dtype=np.uint8),
            "activations": activations,
            "means": class_means(activations, v0.CARRIERS),
        },
    )
    WhiteBox().check(secret, key_of(vectors, "whitebox"), Manifest.of(data))
    expected = np.array(found["reading"]["bits"], dtype=np.int8)
    read = WhiteBox().evidence(
        SchemeSecret("whitebox", secret.meta, {**secret.arrays, "bits": expected}),
        Answers(np.zeros((len(activations), 7), np.float32), activations),
    )
    assert read.errors == 0


@pytest.mark.parametrize("classes", [7, 2])
def test_the_black_box_of_the_vectors_is_the_package_s(
    vectors: Vectors, data: LabelledData, classes: int
) -> None:
    found = vectors["blackbox"]
    parent = [v0.parent_outputs(number)[:classes] for number in found["kept"]]
    ordinary = key_vectors_v1.ordinary(found["sources"], classes)
    secret = SchemeSecret(
        "blackbox",
        {"classes": classes, "family": "salt", "key_version": KEY_VERSION},
        {
            "sources": data.inputs[found["sources"]],
            "source_indices": np.array(found["sources"], dtype=np.int64),
            "source_outputs": np.array(ordinary, dtype=np.float32),
            "kept": np.array(found["kept"], dtype=np.int64),
            "parent_outputs": np.array(parent, dtype=np.float32),
            "query_key": as_key(vectors, "blackbox", "queries"),
            "label_key": as_key(vectors, "blackbox", "labels"),
        },
    )
    BlackBox().check(secret, key_of(vectors, "blackbox"), Manifest.of(data))
    expected = found if classes == 7 else found["two_classes"]
    assert blackbox._labels(secret).tolist() == expected["labels"]
    queries = BlackBox().probes(secret).inputs.astype("<f4")
    digest = hashlib.sha256(queries.tobytes()).hexdigest()
    assert digest == found["families"]["salt"]["queries_sha256"]


def blueprint() -> Blueprint:
    """Of the parent of the vectors, whose tap stands in front of its last layer."""
    layers = tuple(
        Layer(np.array(layer.weight, dtype=np.float32), tuple(layer.reads), layer.computes)
        for layer in v0.layers()
    )
    tap = Tensor("tap", tuple(v0.TAP), after=key_vectors_v1.DEPTH)
    return Blueprint.of(Network(layers, (tap,)), "tap")


@pytest.fixture(scope="module")
def spread(vectors: Vectors) -> SchemeSecret:
    found = vectors["spread"]
    digest = np.frombuffer(bytes.fromhex(found["blueprint"]["digest"]), dtype=np.uint8)
    drawn = np.frombuffer(bytes.fromhex(found["pattern_key"]), dtype=np.uint8)
    return SchemeSecret(
        "spread",
        json.loads(vectors["commitment"]["meta"]),
        {
            "signs": np.array(key_vectors_v1.signs_of_rows(), dtype=np.int8),
            "blueprint": digest,
            "pattern_key": drawn,
        },
    )


def test_the_patterns_of_the_vectors_are_the_package_s(
    vectors: Vectors, data: LabelledData, spread: SchemeSecret
) -> None:
    found = vectors["spread"]
    assert blueprint().digest().hex() == found["blueprint"]["digest"]
    Spread().check(spread, key_of(vectors, "spread"), Manifest.of(data))
    empty = np.frombuffer(Blueprint.empty().digest(), dtype=np.uint8)
    drawn = bytes.fromhex(found["pattern_key_without_layers"])
    other = SchemeSecret(
        "spread",
        spread.meta,
        {**spread.arrays, "blueprint": empty, "pattern_key": np.frombuffer(drawn, np.uint8)},
    )
    Spread().check(other, key_of(vectors, "spread"), Manifest.of(data))
    matrices = Spread().probes(spread).matrices
    assert [list(matrix) for matrix in matrices] == found["matrices"]
    for place, expected in enumerate(found["patterns"]):
        pattern = pattern_of(bytes.fromhex(found["pattern_key"]), matrices, place)
        assert pattern[0, :8].tolist() == expected["first_row"]
        digest = hashlib.sha256(pattern.astype("<f4").tobytes()).hexdigest()
        assert digest == expected["sha256"]


def test_weights_are_read_as_the_vectors_say(vectors: Vectors, spread: SchemeSecret) -> None:
    expected = vectors["spread"]["reading"]
    shown = tuple(weight.astype(np.float32) for weight in key_vectors_v1.weights())
    nothing = np.zeros((0, 0), np.float32)
    found = Spread().evidence(spread, Answers(nothing, matrices=shown))
    assert found.parts == expected["parts"] == 4
    assert found.deviations == pytest.approx(expected["together"], rel=1e-5)
    for place, deviation in enumerate(expected["deviations"]):
        alone = tuple(weight if at == place else None for at, weight in enumerate(shown))
        if deviation is not None:
            one = Spread().evidence(spread, Answers(nothing, matrices=alone))
            assert one.deviations == pytest.approx(max(0.0, deviation), rel=1e-5)


def cells_secret(vectors: Vectors, data: LabelledData, task: str) -> SchemeSecret:
    found = vectors["cells"][task]
    size, count = found["parameters"], found["parameters"]["outputs"]
    arrays: dict[str, Any] = {
        # Of a made-up tap of five neurons: what is fitted is not drawn from.
        "means": np.zeros((size["cells"], 5), np.float32),
        "maps": np.zeros((size["cells"], 5, size["components"]), np.float32),
        "direction_key": as_key(vectors, "cells", "directions"),
        "sign_key": as_key(vectors, "cells", "signs"),
    }
    for part, name in (("probe", "probes"), ("pool", "pool")):
        rows = np.array(found[name], dtype=np.int64)
        arrays[f"{part}_indices"] = rows
        arrays[f"{part}_groups"] = data.labels[rows]
        features = [key_vectors_v1.features(place) for place in found[name]]
        outputs = [key_vectors_v1.outputs(place, count) for place in found[name]]
        arrays[f"{part}_features"] = np.array(features, dtype=np.float32)
        arrays[f"{part}_outputs"] = np.array(outputs, dtype=np.float32)
    arrays["probe_samples"] = data.inputs[arrays["probe_indices"]]
    arrays["pool_digests"] = Manifest.of(data).digests[arrays["pool_indices"]]
    if task == "classification":
        arrays["contrasted"] = np.array(found["contrasted"], dtype=np.int64)
    exact = key_vectors_v1.probes(task, found["probes"]).scales
    assert list(exact) == pytest.approx(found["scales"], rel=1e-8)
    arrays["scales"] = np.array(exact, dtype=np.float32)
    return SchemeSecret("cells", {"task": task, "margin": size["margin"]}, arrays)


@pytest.mark.parametrize("task", TASKS)
def test_the_signs_of_the_vectors_are_the_package_s(
    vectors: Vectors, data: LabelledData, task: str
) -> None:
    found, secret = vectors["cells"][task], cells_secret(vectors, data, task)
    Cells().check(secret, key_of(vectors, "cells"), Manifest.of(data))
    assert cells._signs(secret).ravel().tolist() == found["signs"]
    carriers = carriers_of(secret, "probe")
    assert carriers.sizes[:12].tolist() == found["sizes"]
    np.testing.assert_allclose(
        carriers.directions[0], np.array(found["directions_of_kind_0"]), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_read_as_the_vectors_say(
    vectors: Vectors, data: LabelledData, task: str
) -> None:
    found, secret = vectors["cells"][task], cells_secret(vectors, data, task)
    suspects = key_vectors_v1.suspects(task, found["probes"])
    assert suspects.keys() == found["readings"].keys()
    signs, carriers = cells._signs(secret), carriers_of(secret, "probe")
    for form, expected in found["readings"].items():
        outputs = suspects[form].astype(np.float32)
        evidence = Cells().evidence(secret, Answers(outputs))
        assert isinstance(evidence, SignSum)
        assert evidence.matches == expected["matches"]
        if task == "classification":
            residual = class_residual(outputs, carriers.outputs).values
        else:
            residual = vector_residual(outputs, carriers.outputs).values
            residual = residual / secret.arrays["scales"].astype(np.float64)
        weights = carrier_weights(residual, carriers, len(signs))
        assert weights.ravel()[:6] == pytest.approx(expected["first_weights"], rel=1e-4, abs=1e-5)
        assert float((weights * signs).sum()) == pytest.approx(expected["sum"], rel=1e-4, abs=1e-4)


def test_commitment(vectors: Vectors, spread: SchemeSecret) -> None:
    given = vectors["commitment"]
    assert key_version(spread.meta) == vectors["key_version"] == KEY_VERSION
    nonce = binding_nonce(bytes.fromhex(given["salt"]), spread, blueprint())
    assert nonce.hex() == given["nonce"]
    subkey = bytes.fromhex(vectors["keys"]["subkeys"]["spread"])
    assert commit(subkey, "spread", nonce) == given["commitment"]
