"""Evidence level c: marks in files that compute the same with other layers."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deepsigns_registry.attacks.rewrite import REWRITINGS, rewritten
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.verdict import judge
from tests.support.matched import matched
from tests.support.training import train
from tests.unit.watermark.test_alignment import exported, known, layers_of, moved, whitebox

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

KINDS = {kind.name: kind for kind in REWRITINGS}
# Those that ask for the same inputs.
WITHOUT_TRACE = (
    *("orthogonal", "branches", "dummies", "bottleneck", "normalised"),
    *("classes", "extra-class", "probabilities", "temperature", "decoy"),
)


def write(path: Path, *kinds: str) -> OnnxSuspect:
    model = onnx.load(path)
    for seed, kind in enumerate(kinds):
        model, _, _ = rewritten(model, KINDS[kind], seed=seed)
    onnx.save(model, path)
    return OnnxSuspect(path)


def test_a_decoy_s_second_output_is_asked(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    path = tmp_path / "suspect.onnx"
    exported(marked.model, marked.data.train.inputs[:4], path)
    # Nothing but answers is read: the copy's layers alone would be enough.
    alone = replace(record, secrets={"blackbox": record.secrets["blackbox"]})
    plain = extract(alone, OnnxSuspect(path))
    assert plain.alignments == 1
    moved = extract(alone, write(path, "classes", "decoy"))
    assert moved.alignments > 1
    assert plain.evidence[0].log10_p < -20
    assert moved.evidence[0].log10_p == pytest.approx(plain.evidence[0].log10_p, abs=2)


@pytest.fixture(scope="module")
def record(marked: "Marked", tmp_path_factory: pytest.TempPathFactory) -> WatermarkRecord:
    return known(marked.record, marked.parent, tmp_path_factory.mktemp("parent"))


@pytest.mark.parametrize("kind", WITHOUT_TRACE)
def test_a_rewritten_copy_is_read_without_an_error(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "suspect.onnx"
    exported(marked.model, marked.data.train.inputs[:4], path)
    read, alignments, word = whitebox(record, write(path, kind))
    assert (read.level, matched(read).errors, word) == ("c", 0, "present")
    assert alignments > 1


@pytest.mark.parametrize("second", ["branches", "dummies", "bottleneck", "normalised", "decoy"])
def test_a_moved_and_twice_rewritten_copy_is_read(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path, second: str
) -> None:
    model = copy.deepcopy(marked.model)
    moved(layers_of(model), seed=3)
    path = tmp_path / "suspect.onnx"
    exported(model, marked.data.train.inputs[:4], path)
    read, _, word = whitebox(record, write(path, "orthogonal", second))
    assert (read.level, matched(read).errors, word) == ("c", 0, "present")


def test_dummies_that_an_added_class_reads_are_seen_past(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    # They have an effect on that class, so that no normal form drops them.
    path = tmp_path / "suspect.onnx"
    exported(marked.model, marked.data.train.inputs[:4], path)
    read, _, word = whitebox(record, write(path, "orthogonal", "dummies", "extra-class"))
    assert (read.level, matched(read).errors, word) == ("c", 0, "present")


def test_a_sibling_that_is_rewritten_is_not_claimed(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    path = tmp_path / "suspect.onnx"
    exported(marked.sibling, marked.data.train.inputs[:4], path)
    found = extract(record, write(path, "orthogonal", "dummies"))
    assert "c" not in {entry.level for entry in found.evidence}
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"


def test_a_convolutional_network_turned_and_moved_is_present(
    marked: "Marked", tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)),
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 6),
    )
    parent = EagerTappedModel(train(network, marked.data.train, epochs=5), "4")
    made = prepare_record(parent, marked.data, RootKey(b"c" * 32, bytes(32)), marked.settings)
    record = known(made, parent, tmp_path)
    model = copy.deepcopy(parent)
    embed(model, marked.data, record, marked.settings)
    moved(layers_of(model), seed=2)
    path = tmp_path / "suspect.onnx"
    exported(model, marked.data.train.inputs[:4], path)
    inputs = marked.data.validation.inputs
    before = OnnxSuspect(path).run(inputs, tap=None)[0]
    for kinds in (("orthogonal",), ("dummies",), ("branches",)):
        suspect = write(path, *kinds)
        np.testing.assert_allclose(suspect.run(inputs, tap=None)[0], before, rtol=1e-2, atol=1e-2)
        read, _, word = whitebox(record, suspect)
        assert (read.level, matched(read).errors, word) == ("c", 0, "present")
