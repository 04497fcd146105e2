"""Every kind of model is marked and read again, through every view of it, on real digits."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn
from torch.export import Dim
from torch.nn import functional

from benchmarks import models
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.graph.wiring import parent_blueprint
from deepsigns_registry.watermark.adapters import eager, exported
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.fidelity import mark_cost
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import check_against_parent, prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import Suspect, TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel, run_batched
from deepsigns_registry.watermark.verdict import PRESENT_AT, judge
from deepsigns_registry.watermark.whitebox import width_needed

pytestmark = pytest.mark.integration

SETTINGS = MarkSettings(
    bits=64, queries=100, sources=60, epochs=1, minimum_steps=100, repeats=25, learning_rate=5e-3
)
TRAINED = 900
SHAPE = (1, 8, 8)
CPU = torch.device("cpu")


def digits(task: str) -> TrainingData:
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    inputs = (images[order] / 16).astype(np.float32).reshape(-1, *SHAPE)
    labels = classes[order].astype(np.int64)
    if task == "embedding":
        parts = [LabelledData.without_labels(inputs[rows]) for rows in halves()]
        return TrainingData(parts[0], parts[1], 16)
    if task == "regression":
        targets = centres_of_ink(inputs)
        parts = [LabelledData(inputs[rows], targets[rows]) for rows in halves()]
        return TrainingData(parts[0], parts[1], 2)
    parts = [LabelledData(inputs[rows], labels[rows]) for rows in halves()]
    return TrainingData(parts[0], parts[1], 10)


def halves() -> tuple[slice, slice]:
    return slice(TRAINED), slice(TRAINED, TRAINED + 500)


def centres_of_ink(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:8, :8]
    ink = inputs.sum(axis=(1, 2, 3))
    moments = [(inputs[:, 0] * place).sum(axis=(1, 2)) / ink for place in (rows, columns)]
    return np.stack(moments, axis=1).astype(np.float32)


def trained(module: nn.Module, data: TrainingData, epochs: int) -> nn.Module:
    """Trains on the task; an embedding model on the distances between the classes' digits."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.from_numpy(data.train.inputs)
    labels = torch.from_numpy(data.train.labels)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(64):
            outputs = module(inputs[rows])
            if data.task == "classification":
                loss = functional.cross_entropy(outputs, labels[rows])
            elif data.task == "regression":
                loss = functional.mse_loss(outputs, labels[rows])
            else:
                flat = functional.normalize(inputs[rows].flatten(1) - 0.3, dim=1)
                loss = functional.mse_loss(outputs @ outputs.T, flat @ flat.T)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return module.eval()


def tapped(module: nn.Module, data: TrainingData, view: str) -> TappedModel:
    rows = torch.from_numpy(data.train.inputs[:4])
    width = width_needed(SETTINGS, 10)
    if view == "eager":
        return eager.EagerTappedModel(module, eager.choose_tap(module, rows, width=width).tap)
    program = torch.export.export(module, (rows,), dynamic_shapes=({0: Dim.AUTO},))
    tap = exported.choose_tap(program, width=width).tap
    return exported.ExportedTappedModel(program, tap)


def check_present(record: WatermarkRecord, suspect: Suspect) -> None:
    found = extract(record, suspect)
    verdict = judge(found.evidence, tries=10, incomplete=found.incomplete)
    assert verdict.word == "present", verdict
    for evidence in verdict.evidence:
        assert verdict.log10_p_adjusted(evidence.scheme) <= PRESENT_AT, evidence
    assert not found.incomplete


@pytest.mark.parametrize(
    ("build", "task", "epochs", "view"),
    [
        pytest.param(models.mlp, "classification", 4, "eager", id="mlp"),
        pytest.param(partial(models.cnn, padding=1), "classification", 3, "eager", id="cnn"),
        pytest.param(models.resnet, "classification", 3, "exported", id="resnet"),
        pytest.param(
            partial(models.wide_resnet, depth=10, width=1),
            "classification",
            3,
            "eager",
            id="wide-resnet",
        ),
        pytest.param(
            partial(models.transformer, patch=4, width=32),
            "classification",
            8,
            "exported",
            id="transformer",
        ),
        pytest.param(models.regressor, "regression", 20, "exported", id="regressor"),
        pytest.param(models.embedding, "embedding", 4, "eager", id="embedding"),
    ],
)
def test_a_model_of_any_kind_is_marked(
    build: Callable[[models.Shape, int], nn.Module],
    task: str,
    epochs: int,
    view: str,
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    data = digits(task).validated()
    # After 150 steps a regressor had 45 of 64 bits.
    longer = replace(SETTINGS, minimum_steps=600, repeats=150)
    settings = longer if task == "regression" else SETTINGS
    parent = tapped(trained(build(SHAPE, data.classes), data, epochs), data, view)
    root, blueprint = RootKey(bytes(32), bytes(32)), None
    if view == "exported":
        tap = export_onnx(parent, data.validation.inputs[:4], tmp_path / "parent.onnx")
        blueprint = parent_blueprint(tmp_path / "parent.onnx", tap)
    record = prepare_record(parent, data, root, settings, blueprint=blueprint)
    if view == "exported":
        record = record.with_tap(tap, blueprint)
    record.check()
    check_against_parent(record, parent, data, settings)
    # A model of few weights carries no pattern in them.
    expected = {"whitebox", "blackbox"} if task == "classification" else {"whitebox"}
    assert set(record.secrets) - {"spread"} == expected
    before, _ = run_batched(parent, data.validation.inputs, CPU)
    marked = copy.deepcopy(parent)
    embed(marked, data, record, settings)
    after, _ = run_batched(marked, data.validation.inputs, CPU)
    cost = mark_cost(before, after, data.validation)
    assert cost.low < 0.05, cost

    check_present(record, TappedSuspect(marked))
    found = extract(record, TappedSuspect(parent))
    assert judge(found.evidence, tries=10, incomplete=found.incomplete).word == "absent"
    if view == "exported":
        assert export_onnx(marked, data.validation.inputs[:4], tmp_path / "marked.onnx") == tap
        check_present(record, OnnxSuspect(tmp_path / "marked.onnx"))
