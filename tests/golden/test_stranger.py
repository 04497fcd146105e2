"""A stranger checks a mark of `spread` with the specification alone: numpy, onnx, the reference.

Nothing of the package runs after the model was marked. What he is given: the root key, as in a
rehearsal (in a dispute it is the subkey), the record's plain arrays, the training data, and files.
"""

import copy
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.graph.wiring import parent_blueprint
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.evidence import Correlation
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.spread import Spread
from tests.golden import reference_key_v1 as reference
from tests.support.training import train
from tests.unit.watermark.conftest import CLASSES, OWNER, blobs, multilayer

ROOT = bytes(range(32))
SETTINGS = MarkSettings(minimum_steps=60, spread_strength=0.1)


@dataclass(frozen=True)
class Given:
    """What the stranger has."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    record: bytes
    commitment: str
    parent: Path
    marked: Path


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("stranger")
    data = TrainingData(blobs(300, 1), blobs(100, 2), CLASSES).validated()
    model = EagerTappedModel(train(multilayer(0), data.train, epochs=3), "3")
    tap = export_onnx(model, data.train.inputs[:4], folder / "parent.onnx")
    blueprint = parent_blueprint(folder / "parent.onnx", tap)
    schemes, root = (Spread(),), RootKey(ROOT, OWNER)
    record = prepare_record(model, data, root, SETTINGS, schemes=schemes, blueprint=blueprint)
    record = record.with_tap(tap, blueprint, schemes=schemes)
    marked = copy.deepcopy(model)
    embed(marked, data, record, SETTINGS, schemes=schemes)
    export_onnx(marked, data.train.inputs[:4], folder / "marked.onnx")
    return Given(
        data.train.inputs,
        data.train.labels.astype(np.int64),
        record.to_bytes(),
        record.commitments()["spread"],
        folder / "parent.onnx",
        folder / "marked.onnx",
    )


def opened(record: bytes) -> tuple[dict[str, object], dict[str, NDArray[np.generic]]]:
    """The record's header of the scheme, and all arrays by name."""
    with zipfile.ZipFile(io.BytesIO(record)) as archive:
        header = json.loads(archive.read("record.json"))["schemes"]["spread"]
        arrays = {
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)))
            for name in archive.namelist()
            if name.endswith(".npy")
        }
    return header, arrays


def scheme_key(given: Given) -> bytes:
    """Sections 3 and 5, from the root and the training data."""
    entries = [
        reference.Entry(
            reference.sample_digest("float32", row.shape, row.astype("<f4").tobytes()), int(label)
        )
        for row, label in zip(given.inputs, given.labels, strict=True)
    ]
    subkey = reference.subkey(ROOT, OWNER, "spread")
    return reference.scheme_key(subkey, OWNER, reference.manifest_root(entries))


def blueprint_digest(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """Section 10.1, of the arrays as the record holds them."""
    parts: list[bytes] = []
    for name in ("rows", "norms", "layers", "tap", "depth"):
        array = arrays.get(f"blueprint.{name}")
        if array is not None:
            little = array.astype(array.dtype.newbyteorder("<")).tobytes()
            parts += [name.encode(), str(array.shape).encode(), little]
    return reference.sha256(reference.encoded(*parts))


def layers(path: Path) -> list[NDArray[np.float32]]:
    """The weights of a perceptron's file, one row a channel that is computed."""
    graph = onnx.load(path).graph
    values = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in {"Gemm", "MatMul"}:
            transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
            weight = values[node.input[1]]
            found.append(weight if transposed else weight.T)
    return found


def read(given: Given, path: Path) -> tuple[float, int]:
    """Section 8: deviations of all parts together."""
    header, arrays = opened(given.record)
    meta = header["meta"]
    assert isinstance(meta, dict)
    assert meta["key_version"] == 1
    matrices = [(name, place, r, c, flag) for name, place, r, c, flag in meta["matrices"]]
    drawn = reference.spread.pattern_key(scheme_key(given), blueprint_digest(arrays))
    weights, found = layers(path), []
    for index, (_, place, rows, columns, _) in enumerate(matrices):
        assert weights[place].shape == (rows, columns)
        pattern = reference.spread.pattern(drawn, matrices, index)
        found.append(reference.spread.deviation(weights[place], pattern))
    return reference.spread.together(found)


def test_the_stranger_finds_the_mark_and_reads_what_the_package_reads(given: Given) -> None:
    theirs, parts = read(given, given.marked)
    assert theirs > 8
    record = WatermarkRecord.from_bytes(given.record)
    (ours,) = extract(record, OnnxSuspect(given.marked), schemes=(Spread(),)).evidence
    assert isinstance(ours, Correlation)
    assert ours.deviations == pytest.approx(theirs, rel=1e-4)
    assert ours.parts == parts == 3
    # One key in 10 million gives as much without a mark.
    assert read(given, given.parent)[0] < 6


def test_the_stranger_opens_the_commitment(given: Given) -> None:
    """Section 10."""
    header, arrays = opened(given.record)
    meta, salt = header["meta"], header["salt"]
    assert isinstance(meta, dict)
    assert isinstance(salt, str)
    secret = {
        name.removeprefix("scheme.spread."): reference.Array(
            array.dtype.name, array.shape, array.astype(array.dtype.newbyteorder("<")).tobytes()
        )
        for name, array in arrays.items()
        if name.startswith("scheme.spread.")
    }
    digest = reference.secret_digest("spread", meta, secret)
    nonce = reference.nonce(bytes.fromhex(salt), digest, blueprint_digest(arrays))
    subkey = reference.subkey(ROOT, OWNER, "spread")
    assert reference.commitment(subkey, "spread", nonce) == given.commitment


def test_data_that_the_owner_did_not_list_find_nothing(given: Given) -> None:
    other = LabelledData(given.inputs[::-1].copy() + np.float32(1), given.labels)
    elsewhere = Given(other.inputs, other.labels, given.record, "", given.parent, given.marked)
    deviations, _ = read(elsewhere, given.marked)
    assert deviations < 6
