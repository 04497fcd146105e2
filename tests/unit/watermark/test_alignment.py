"""Evidence level c: marks in files whose neurons were moved, scaled, split or padded."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.graph.wiring import parent_blueprint, read_network
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.align import Alignment, Rows, align, match_rows
from deepsigns_registry.watermark.blueprint import Blueprint, sketched
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.projection import class_means, read_bits
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.verdict import judge
from tests.support.matched import matched
from tests.support.training import train

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

Layers = Sequence[nn.Linear | nn.Conv2d]


def moved(layers: Layers, seed: int, *, scale: float = 1.0, extra: bool = False) -> None:
    """Moves and scales the channels between layers, in place; `extra` splits and pads them too.

    By hand, for layers one behind the other with homogeneous functions between them: a way that
    shares nothing with `deepsigns_registry.attacks`.
    """
    random = np.random.default_rng(seed)
    for first, second in pairwise(layers):
        width = len(first.weight)
        source = random.permutation(width)
        gain = np.exp(random.normal(0, scale, width))
        share = 1 / gain
        if extra:
            halves = random.choice(width, width // 4, replace=False)
            part = random.uniform(0.2, 0.8, len(halves))
            twin = np.exp(random.normal(0, scale, len(halves)))
            source = np.concatenate([source, source[halves], np.zeros(width // 8, np.int64)])
            gain = np.concatenate([gain, twin, np.ones(width // 8)])
            share = np.concatenate([share, (1 - part) / twin, np.zeros(width // 8)])
            share[halves] *= part
        rows = first.weight.detach().double()[source] * _like(gain, first.weight)
        assert first.bias is not None
        bias = first.bias.detach().double()[source] * torch.from_numpy(gain)
        if extra:
            rows[-(width // 8) :] = torch.from_numpy(
                random.normal(0, 0.1, rows[-(width // 8) :].shape)
            )
        columns = second.weight.detach().double()
        columns = columns.unflatten(1, (width, -1))[:, source]
        columns = columns * torch.from_numpy(share).reshape(-1, *[1] * (columns.ndim - 2))
        first.weight, first.bias = _parameter(rows), _parameter(bias)
        flat = columns.flatten(1, 2)
        second.weight = _parameter(flat)


def _like(values: NDArray[np.float64], weight: Tensor) -> Tensor:
    return torch.from_numpy(values).reshape(-1, *[1] * (weight.ndim - 1))


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.float())


def layers_of(model: EagerTappedModel) -> list[nn.Linear | nn.Conv2d]:
    return [part for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d)]


def exported(model: EagerTappedModel, example: NDArray[np.float32], path: Path) -> OnnxSuspect:
    export_onnx(model, example, path)
    return OnnxSuspect(path)


def known(record: WatermarkRecord, parent: EagerTappedModel, folder: Path) -> WatermarkRecord:
    """The record as it is sealed: it knows the parent's export."""
    path = folder / "parent.onnx"
    tap = export_onnx(parent, parent_example(record), path)
    return record.with_tap(tap, parent_blueprint(path, tap))


def parent_example(record: WatermarkRecord) -> NDArray[np.float32]:
    return record.secrets["whitebox"].arrays["triggers"][:4].astype(np.float32)


def whitebox(record: WatermarkRecord, suspect: OnnxSuspect) -> tuple[Evidence, int, str]:
    found = extract(record, suspect)
    tries = 2 * found.alignments
    verdict = judge(found.evidence, tries=tries, incomplete=found.incomplete)
    return found.evidence[0], found.alignments, verdict.word


@pytest.fixture(scope="module")
def record(marked: "Marked", tmp_path_factory: pytest.TempPathFactory) -> WatermarkRecord:
    return known(marked.record, marked.parent, tmp_path_factory.mktemp("parent"))


@pytest.mark.parametrize("extra", [False, True], ids=["permuted and scaled", "split and padded"])
def test_a_changed_copy_is_read_without_an_error(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path, *, extra: bool
) -> None:
    model = copy.deepcopy(marked.model)
    before = model(torch.from_numpy(marked.data.validation.inputs)).outputs
    moved(layers_of(model), seed=1, extra=extra)
    after = model(torch.from_numpy(marked.data.validation.inputs)).outputs
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-3)
    suspect = exported(model, marked.data.train.inputs[:4], tmp_path / "suspect.onnx")
    read, alignments, word = whitebox(record, suspect)
    assert (read.level, matched(read).errors, word) == ("c", 0, "present")
    assert alignments > 1
    # Without the blueprint it stays open, never absent.
    blind = extract(replace(record, blueprint=Blueprint.empty()), suspect)
    assert [entry.level for entry in blind.evidence] in (["", "oracle"], ["oracle"])
    assert blind.incomplete


def test_a_pruned_and_moved_copy_is_still_present(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    """Rows that lost most of their weights resemble the parent's less; bits are read anyway."""
    model = copy.deepcopy(marked.model)
    with torch.no_grad():
        for layer in layers_of(model):
            weight = layer.weight
            weight[weight.abs() <= weight.abs().flatten().quantile(0.6)] = 0
    moved(layers_of(model), seed=4)
    read, _, word = whitebox(record, exported(model, parent_example(record), tmp_path / "s.onnx"))
    assert word == "present"
    assert read.log10_p < -9


def test_a_copy_as_it_is_needs_no_alignment(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    suspect = exported(marked.model, marked.data.train.inputs[:4], tmp_path / "suspect.onnx")
    read, alignments, _ = whitebox(record, suspect)
    assert (read.level, matched(read).errors, alignments) == ("a", 0, 1)


def test_a_renamed_tap_is_found(marked: "Marked", record: WatermarkRecord, tmp_path: Path) -> None:
    path = tmp_path / "suspect.onnx"
    export_onnx(marked.model, marked.data.train.inputs[:4], path)
    graph = onnx.load(path).graph
    model = onnx.load(path)
    names = {name for node in graph.node for name in node.output} - {graph.output[0].name}
    # The tap's name is still there and means another tensor: the one before it.
    swapped = {record.tap: "other"} | {
        name: record.tap for node in graph.node if record.tap in node.output for name in node.input
    }
    renamed = {name: swapped.get(name, f"{name}_again") for name in names}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        for place, name in enumerate(node.output):
            node.output[place] = renamed.get(name, name)
    del model.graph.value_info[:]
    onnx.save(model, path)
    taps = {tensor.name for tensor in read_network(model, where="suspect").tensors}
    assert {record.tap, "other"} < taps
    read, _, word = whitebox(record, OnnxSuspect(path))
    assert (matched(read).errors, word) == (0, "present")
    onnx.save(_without(model, record.tap), path)
    read, alignments, word = whitebox(record, OnnxSuspect(path))
    assert (read.level, matched(read).errors, word) == ("c", 0, "present")
    assert alignments > 2


def _without(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    for node in model.graph.node:
        node.input[:] = ["gone" if entry == name else entry for entry in node.input]
        node.output[:] = ["gone" if entry == name else entry for entry in node.output]
    return model


def test_siblings_and_other_widths_are_not_claimed(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    wide = nn.Sequential(
        nn.Linear(16, 96), nn.ReLU(), nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 6)
    )
    other = EagerTappedModel(train(wide, marked.data.train, epochs=5), "3")
    for number, model in enumerate((marked.sibling, other)):
        suspect = exported(model, marked.data.train.inputs[:4], tmp_path / f"{number}.onnx")
        found = extract(record, suspect)
        assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"
        assert "c" not in {entry.level for entry in found.evidence}
        network = suspect.networks()[0]
        alignment = align(record.blueprint, network)
        assert alignment is not None
        assert not alignment.verified


def test_matches_of_unrelated_models_stay_binomial_after_alignment(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    """Four models never marked, each aligned as well as it goes, times 5,000 keys of 64 bits.

    Mean 32 with a standard error of 0.057 over 5,000 independent draws of 64 bits, variance 16
    with one of 0.32: five of each. The largest of 20,000 exceeds 52 with probability 0.006.
    """
    models = {"parent": marked.parent, "sibling": marked.sibling}
    for seed in (7, 8):
        models[f"other {seed}"] = EagerTappedModel(
            train(_multilayer(seed), marked.data.train, epochs=3, seed=seed), "3"
        )
    triggers = record.secrets["whitebox"].arrays["triggers"].astype(np.float32)
    random = np.random.default_rng(0)
    for name, model in models.items():
        changed = copy.deepcopy(model)
        moved(layers_of(changed), seed=5, extra=True)
        path = tmp_path / f"{name}.onnx"
        suspect = exported(changed, marked.data.train.inputs[:4], path)
        means = class_means(_aligned(record, suspect, triggers), 4)
        projection = random.normal(size=(96, 16 * 50)).astype(np.float32)
        matches = np.concatenate([_matches(means, projection, random) for _ in range(100)])
        assert abs(matches.mean() - 32) < 5 * 0.057, name
        assert abs(matches.var() - 16) < 5 * 0.32, name
        assert matches.max() <= 52, name


def _multilayer(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(16, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 6)
    )


def _aligned(
    record: WatermarkRecord, suspect: OnnxSuspect, inputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    network = suspect.networks()[0]
    alignment = align(record.blueprint, network)
    assert alignment is not None
    tensor = alignment.tensors[-1]
    read = alignment.read(suspect.activations(network, inputs, [tensor])[tensor], 96)
    assert read is not None
    return read


def _matches(
    means: NDArray[np.float32], projection: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.int64]:
    """Matches of 50 keys: each has 16 columns of A, and 4 x 16 fair bits of its own."""
    found = read_bits(means, projection).reshape(4, 50, 16)
    bits = random.integers(0, 2, found.shape)
    return np.asarray((found == bits).sum(axis=(0, 2)), np.int64)


def test_convolution_channels_are_undone(marked: "Marked", tmp_path: Path) -> None:
    """Channels of a feature map at the tap, and flattened ones behind it."""
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
    settings = replace(marked.settings, queries=100)
    made = prepare_record(parent, marked.data, RootKey(b"c" * 32, bytes(32)), settings)
    record = known(made, parent, tmp_path)
    model = copy.deepcopy(parent)
    embed(model, marked.data, record, settings)
    for extra in (False, True):
        changed = copy.deepcopy(model)
        moved(layers_of(changed), seed=2, extra=extra)
        suspect = exported(changed, marked.data.train.inputs[:4], tmp_path / "suspect.onnx")
        read, _, word = whitebox(record, suspect)
        assert (read.level, matched(read).errors, word) == ("c", 0, "present")


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf, 3e38])
def test_weights_without_meaning_are_never_absent(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path, value: float
) -> None:
    path = tmp_path / "suspect.onnx"
    export_onnx(marked.model, marked.data.train.inputs[:4], path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.ndim == 2:
            full = np.full_like(array, value)
            tensor.CopyFrom(onnx.numpy_helper.from_array(full, tensor.name))
    onnx.save(model, path)
    found = extract(record, OnnxSuspect(path))
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"


def test_a_spare_copy_takes_no_other_neuron_s_place() -> None:
    """A marked row may be less like its parent's than a neighbour's is."""
    ours = np.array([[1, 0, 0], [0.5, 0.75**0.5, 0]], np.float32)
    moved_away = np.array([0, 0.3, 0.91**0.5], np.float32)
    theirs = np.stack([ours[0], moved_away, 3 * ours[0]])
    match = match_rows([(Rows(*sketched(ours)), Rows(*sketched(theirs)))])
    assert match.assignment.tolist() == [0, 1]
    assert match.joined.tolist() == [0, 1, 0]


def test_rows_of_infinite_length_say_nothing_of_the_scale() -> None:
    ours = np.eye(3, 4, dtype=np.float32)
    theirs = 2 * ours
    units, norms = sketched(theirs)
    norms[:2] = np.inf
    match = match_rows([(Rows(*sketched(ours)), Rows(units, norms))])
    assert np.isfinite(match.scale).all()


def test_an_activation_of_another_width_is_not_read() -> None:
    alignment = Alignment(
        ("t",), 3, np.array([2, -1]), np.array([2.0, 1.0], np.float32), verified=True
    )
    activation = np.array([[1.0, 2.0, 6.0]], np.float32)
    read = alignment.read(activation, 2)
    assert read is not None
    assert read.tolist() == [[3.0, 0.0]]
    assert alignment.read(activation, 3) is None
    assert alignment.read(np.ones((1, 4), np.float32), 2) is None
