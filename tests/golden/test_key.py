"""The published vectors, the reference and the package all say the same."""

import ast
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepsigns_registry.watermark import blackbox, expand
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.expand import Stream, encode
from deepsigns_registry.watermark.key import RootKey, commit, purpose_key, scheme_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest
from deepsigns_registry.watermark.queries import FAMILIES
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import Answers, SchemeSecret
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.golden import key_vectors, reference_key
from tests.support.matched import matched

Vectors = dict[str, Any]


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    found: Vectors = json.loads(key_vectors.FILE.read_text())
    return found


@pytest.fixture(scope="module")
def data() -> LabelledData:
    inputs = [key_vectors.sample(number) for number in range(420)]
    labels = [key_vectors.label(number) for number in range(420)]
    return LabelledData(np.array(inputs, dtype=np.float32), np.array(labels, dtype=np.int64))


@pytest.fixture(scope="module")
def root(vectors: Vectors) -> RootKey:
    keys = vectors["keys"]
    return RootKey(bytes.fromhex(keys["root"]), bytes.fromhex(keys["owner"]))


@pytest.fixture(scope="module")
def whitebox(vectors: Vectors, data: LabelledData) -> SchemeSecret:
    """The secret that the vectors describe."""
    found = vectors["whitebox"]
    shape = found["parameters"]["neurons"], found["parameters"]["bits"]
    purpose = bytes.fromhex(vectors["keys"]["purposes"]["whitebox"]["projection"])
    drawn = reference_key.Bytes(purpose, "A").gaussians(*shape)
    means = key_vectors.means(found["triggers"])
    return SchemeSecret(
        "whitebox",
        json.loads(found["commitment"]["meta"]),
        {
            "carriers": np.array(found["carriers"], dtype=np.int64),
            "trigger_indices": np.array(found["triggers"], dtype=np.int64),
            "triggers": data.inputs[found["triggers"]],
            "projection": np.array(drawn, dtype=np.float32),
            "bits": np.array(found["bits"], dtype=np.int8),
            "means": np.array(means, dtype=np.float32).reshape(4, 24),
        },
    )


def imports(file: Path) -> set[str]:
    """Every module that a file names in an import, relative ones as the empty string."""
    return {
        name
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [(node.level == 0 and node.module) or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }


def test_the_reference_knows_nothing_of_the_package() -> None:
    head = Path(reference_key.__file__)
    files = sorted((head.parent / "reference").glob("*.py"))
    parts = {f"tests.golden.reference.{file.stem}" for file in files}
    imported = set[str]().union(*(imports(file) for file in (head, *files)))
    # Whatever is imported is a part, which is looked at here itself, or Python's own.
    assert parts
    assert parts <= imported
    assert {name.split(".")[0] for name in imported - parts} <= sys.stdlib_module_names


def test_the_reference_gives_the_published_vectors() -> None:
    assert key_vectors.rendered() == key_vectors.FILE.read_text()


def test_encoding_and_keys(vectors: Vectors, root: RootKey) -> None:
    given = vectors["encoding"]
    parts = [bytes.fromhex(part) for part in given["parts"]]
    assert encode(*parts).hex() == given["encoded"]
    for scheme, key in vectors["keys"]["subkeys"].items():
        assert root.subkey(scheme).hex() == key
        bound = scheme_key(bytes.fromhex(key), root.owner, vectors["manifest"]["root"])
        assert bound.hex() == vectors["keys"]["scheme_keys"][scheme]
        for purpose, expected in vectors["keys"]["purposes"][scheme].items():
            assert purpose_key(bound, purpose).hex() == expected


def test_streams(vectors: Vectors) -> None:
    given = vectors["streams"]

    def stream() -> Stream:
        return Stream(bytes.fromhex(given["key"]), given["label"])

    assert stream().take(48).hex() == given["bytes"]
    assert stream().bits(20).tolist() == given["bits"]
    assert stream().integers(8, 1000).tolist() == given["integers_below_1000"]
    below = 3689348814741910324
    assert stream().integers(24, below).tolist() == given[f"integers_below_{below}"]
    whole = np.frombuffer(stream().take(8 * 24), dtype="<u8")
    # The vector shows rejection only if a word was rejected.
    assert (whole >= 2**64 - 2**64 % below).any()
    assert stream().uniforms(4).tolist() == given["uniforms"]
    assert stream().gaussians((2, 3)).tolist() == given["gaussians_2x3"]
    assert stream().permutation(10).tolist() == given["permutation_of_10"]
    joined, order = stream(), given["one_after_the_other"]
    assert joined.bits(3).tolist() == order["bits_3"]
    assert joined.integers(2, 7).tolist() == order["integers_2_below_7"]
    assert joined.uniforms(1).tolist() == order["uniforms_1"]
    assert joined.gaussians((1, 2)).tolist() == order["gaussians_1x2"]


def test_the_table_of_normal_values(vectors: Vectors) -> None:
    table = expand._gaussian_table().astype("<f4")
    assert (
        hashlib.sha256(table.tobytes()).hexdigest() == vectors["streams"]["gaussian_table_sha256"]
    )


def test_no_normal_value_is_near_the_middle_between_two() -> None:
    """The claim of section 4: 1.7e-5 of a step, 1e5 times what double precision can miss."""
    nearest = 1.0
    for step, edge in enumerate(reference_key.edges()):
        slope = 16 * math.exp(-(((step + 0.5) / 4096) ** 2) / 2) / math.sqrt(2 * math.pi)
        nearest = min(nearest, abs(float(edge - round(edge))) / slope)
    assert nearest == pytest.approx(1.7e-5, rel=0.05)


def test_samples_and_manifest(vectors: Vectors, data: LabelledData) -> None:
    for given in vectors["samples"]:
        kind = np.dtype(given["type"]).newbyteorder("<")
        values = np.frombuffer(bytes.fromhex(given["values"]), dtype=kind)
        assert sample_digest(values.reshape(given["shape"])).hex() == given["digest"]
    manifest, given = Manifest.of(data), vectors["manifest"]
    assert len(manifest) == given["samples"]
    assert manifest.root == given["root"]
    key = bytes.fromhex(given["lowest"]["key"])
    assert manifest.lowest(key, 12).tolist() == given["lowest"]["of_all"]
    # Class 6 has seven samples, two of them twice.
    assert manifest.lowest(key, 12, label=6).tolist() == given["lowest"]["of_class_6"]
    assert len(given["lowest"]["of_class_6"]) == 7


def test_the_white_box_of_the_vectors_is_the_package_s(
    vectors: Vectors, data: LabelledData, whitebox: SchemeSecret
) -> None:
    found = vectors["whitebox"]
    assert 6 not in found["carriers"]
    projection = whitebox.arrays["projection"]
    assert projection[0].tolist() == found["projection_first_row"]
    digest = hashlib.sha256(projection.astype("<f4").tobytes()).hexdigest()
    assert digest == found["projection_sha256"]
    key = bytes.fromhex(vectors["keys"]["scheme_keys"]["whitebox"])
    WhiteBox().check(whitebox, key, Manifest.of(data))


def test_reading(vectors: Vectors, whitebox: SchemeSecret) -> None:
    first = whitebox.arrays["triggers"][:, :1].astype(np.float64)
    neurons = np.arange(24)
    activation = np.maximum(0, (-1.0) ** neurons * first * (neurons + 1) / 64).astype(np.float32)
    expected = np.array(vectors["whitebox"]["reading"]["bits"], dtype=np.int8)
    secret = SchemeSecret("whitebox", whitebox.meta, {**whitebox.arrays, "bits": expected})
    outputs = np.zeros((len(first), 7), dtype=np.float32)
    assert matched(WhiteBox().evidence(secret, Answers(outputs, activation))).errors == 0
    assert 0 < expected.sum() < expected.size


def blueprint() -> Blueprint:
    """Of the parent of the vectors, as its exported file would give it."""
    layers = tuple(
        Layer(np.array(layer.weight, dtype=np.float32), tuple(layer.reads), layer.computes)
        for layer in key_vectors.layers()
    )
    tap = Tensor("tap", tuple(key_vectors.TAP), after=len(layers))
    return Blueprint.of(Network(layers, (tap,)), "tap")


def test_commitment(
    vectors: Vectors, data: LabelledData, root: RootKey, whitebox: SchemeSecret
) -> None:
    given = vectors["whitebox"]["commitment"]
    nonce = binding_nonce(bytes.fromhex(given["salt"]), whitebox)
    assert nonce.hex() == given["nonce"]
    assert commit(root.subkey("whitebox"), "whitebox", nonce) == given["commitment"]
    record = WatermarkRecord(
        root=root,
        salts={"whitebox": bytes.fromhex(given["salt"])},
        nonces={"whitebox": nonce},
        secrets={"whitebox": whitebox},
        manifest=Manifest.of(data),
        tap="",
    )
    record.check()
    assert record.commitments() == {"whitebox": given["commitment"]}
    bound = vectors["whitebox"]["commitment_with_blueprint"]
    record = record.with_tap("tap", blueprint())
    record.check()
    assert record.blueprint.digest().hex() == bound["digest"]
    assert record.nonces == {"whitebox": bytes.fromhex(bound["nonce"])}
    assert record.commitments() == {"whitebox": bound["commitment"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_black_box_of_the_vectors_is_the_package_s(
    vectors: Vectors, data: LabelledData, family: str
) -> None:
    found, scheme = vectors["blackbox"], BlackBox()
    assert set(found["families"]) == set(FAMILIES)
    parent = np.array([key_vectors.parent_outputs(number) for number in found["kept"]])
    assert parent.argmax(axis=1).tolist() == found["parent_classes"]
    key = bytes.fromhex(vectors["keys"]["scheme_keys"]["blackbox"])
    purposes = vectors["keys"]["purposes"]["blackbox"]
    queries, labels = (bytes.fromhex(purposes[name]) for name in ("queries", "labels"))
    secret = SchemeSecret(
        "blackbox",
        {"classes": found["parameters"]["classes"], "family": family},
        {
            "sources": data.inputs[found["sources"]],
            "source_indices": np.array(found["sources"], dtype=np.int64),
            "kept": np.array(found["kept"], dtype=np.int64),
            "parent_outputs": parent.astype(np.float32),
            "query_key": np.frombuffer(queries, dtype=np.uint8),
            "label_key": np.frombuffer(labels, dtype=np.uint8),
        },
    )
    scheme.check(secret, key, Manifest.of(data))
    inputs = scheme.probes(secret).inputs.astype("<f4")
    assert inputs[1].tobytes().hex() == found["families"][family]["query_1"]
    digest = hashlib.sha256(inputs.tobytes()).hexdigest()
    assert digest == found["families"][family]["queries_sha256"]
    assert blackbox._labels(secret).tolist() == found["labels"]
