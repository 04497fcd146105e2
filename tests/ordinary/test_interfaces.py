"""Which ordinary models can be taken, as MLflow stores them.

Every model is logged as anybody does it, and loaded as the worker does it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.graph.wiring import parent_blueprint
from deepsigns_registry.retraining.source import output_width
from deepsigns_registry.watermark.adapters.exported import (
    ExportedTappedModel,
    choose_tap,
    rounding,
    run_registered,
)
from deepsigns_registry.watermark.converge import converge
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.plan import Goal
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.settings import MarkSettings
from tests.support.ordinary import IMAGE, ROW, Base, Counting, Log, images, layers, rows


def trained(model: ExportedTappedModel, inputs: Tensor) -> None:
    """A few steps away from where the weights are, as marking does."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        tapped = model(inputs)
        loss = functional.cross_entropy(tapped.outputs, torch.arange(len(inputs)) % 5)
        torch.autograd.backward(loss + tapped.activation.square().mean())
        optimizer.step()


class InBrainFloat(Base):
    """Weights in bfloat16, and constants and casts of that type in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.to(torch.bfloat16)

    def hidden(self, inputs: Tensor) -> Tensor:
        steps = torch.arange(32, dtype=torch.bfloat16)
        return torch.relu(self.first(inputs.to(torch.bfloat16)) + 0.01 * steps)

    def ending(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(dim=-1)


class Autocast(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return torch.relu(self.first(inputs)).float()


TYPES: dict[str, tuple[nn.Module, NDArray[np.generic]]] = {
    "float64": (images(nn.BatchNorm2d(8)).double(), rows(*IMAGE, kind=np.float64)),
    "float16": (images(nn.BatchNorm2d(8)).half(), rows(*IMAGE, kind=np.float16)),
    "bfloat16": (InBrainFloat(), rows(*ROW)),
    "autocast": (Autocast(), rows(*ROW)),
}


@pytest.mark.parametrize("kind", TYPES)
def test_another_float_type_is_trained_in_float32_and_given_back(
    kind: str, log: Log, tmp_path: Path
) -> None:
    module, example = TYPES[kind]
    program = log(module.eval(), example)
    model = ExportedTappedModel(program, choose_tap(program).tap)
    inputs = np.asarray(example, np.float32)
    before = run_registered(program, inputs)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    given = model.as_registered(torch.from_numpy(inputs)).outputs.detach().numpy()
    np.testing.assert_allclose(given, before, atol=8 * rounding(program))
    trained(model, torch.from_numpy(inputs))
    torch.export.save(model.write_back(), tmp_path / "marked.pt2")
    marked = torch.export.load(tmp_path / "marked.pt2")
    kinds = {name: value.dtype for name, value in program.state_dict.items()}
    assert {name: value.dtype for name, value in marked.state_dict.items()} == kinds
    after = run_registered(marked, inputs)
    assert np.abs(after - before).max() > 1e-3
    if kind == "autocast":
        return
    # The ONNX file is of the weights as they were rounded, and computes in float32.
    tap = export_onnx(ExportedTappedModel(marked, model.tap), inputs, tmp_path / "marked.onnx")
    outputs, activation = OnnxSuspect(tmp_path / "marked.onnx").run(inputs, tap=tap)
    np.testing.assert_allclose(outputs, after, atol=8 * rounding(program))
    assert activation is not None


def test_the_mark_is_read_from_a_half_precision_classifier_with_its_softmax(
    log: Log, tmp_path: Path
) -> None:
    digits = load_digits()
    values, labels = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    train = LabelledData(values[:1400], labels[:1400])
    validation = LabelledData(values[1400:], labels[1400:])
    torch.manual_seed(0)
    parent = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(parent.parameters(), lr=1e-3)
    for _ in range(80):
        optimizer.zero_grad()
        given = parent(torch.from_numpy(train.inputs))
        torch.autograd.backward(functional.cross_entropy(given, torch.from_numpy(train.labels)))
        optimizer.step()
    stored = nn.Sequential(*parent, nn.Softmax(dim=1)).half().eval()
    program = log(stored, values[:4].astype(np.float16))
    model = ExportedTappedModel(program, choose_tap(program).tap)
    data = TrainingData(train, validation, 10)
    tap = export_onnx(model, values[:4], tmp_path / "parent.onnx")
    blueprint = parent_blueprint(tmp_path / "parent.onnx", tap)
    root, settings = RootKey(b"r" * 32, b"o" * 32), MarkSettings()
    record = prepare_record(model, data, root, settings, blueprint=blueprint)
    record = record.with_tap(tap, blueprint)
    # As a worker marks: it wins back what the mark costs.
    converge(
        model,
        data,
        record,
        settings,
        Goal(max_drop=0.01),
        fresh=lambda: ExportedTappedModel(program, model.tap),
    )
    torch.export.save(model.write_back(), tmp_path / "marked.pt2")
    marked = torch.export.load(tmp_path / "marked.pt2")
    assert {value.dtype for value in marked.state_dict.values()} == {torch.float16}
    view = ExportedTappedModel(marked, model.tap)
    assert export_onnx(view, values[:4], tmp_path / "marked.onnx") == tap
    suspect = OnnxSuspect(tmp_path / "marked.onnx")
    matches = {found.scheme: found.score for found in extract(record, suspect).evidence}
    assert matches["whitebox"] >= 126
    assert matches["blackbox"] >= 200
    served = run_registered(marked, validation.inputs)
    np.testing.assert_allclose(served.sum(axis=1), 1, atol=1e-3)
    outputs, _ = suspect.run(validation.inputs, tap=None)
    np.testing.assert_allclose(outputs, served, atol=8 * rounding(marked))
    before = run_registered(program, validation.inputs).argmax(axis=1) == validation.labels
    after = served.argmax(axis=1) == validation.labels
    assert after.mean() > before.mean() - 0.02


class Composite(Base):
    def ending(self, outputs: Tensor) -> Tensor:
        shares = torch.exp(outputs / 2.0)
        return shares / shares.sum(dim=1, keepdim=True)


class Behind(Base):
    """A softmax over one pixel, seen in other shapes after it."""

    def ending(self, outputs: Tensor) -> Tensor:
        shares = outputs[:, :, None, None].softmax(dim=1)
        return shares.squeeze(-1).contiguous().to(torch.float32).reshape(-1, 5)


class LogSigmoid(Base):
    def ending(self, outputs: Tensor) -> Tensor:
        logarithms: Tensor = functional.logsigmoid(outputs)
        return logarithms


ENDS: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]] = {
    "softmax": (nn.Sequential(*layers(nn.ReLU()), nn.Softmax(dim=1)), lambda x: x.softmax(dim=1)),
    "behind": (Behind(), lambda x: x.softmax(dim=1)),
    "composite": (Composite(), lambda x: x.softmax(dim=1)),
    "log-softmax": (nn.Sequential(*layers(nn.Tanh()), nn.LogSoftmax(dim=1)), lambda x: x),
    "sigmoid": (nn.Sequential(*layers(nn.ReLU()), nn.Sigmoid()), torch.sigmoid),
    "log-sigmoid": (LogSigmoid(), functional.logsigmoid),
}


@pytest.mark.parametrize("kind", ENDS)
def test_a_classifier_s_last_layer_is_passed_over_and_kept(kind: str, log: Log) -> None:
    module, registered = ENDS[kind]
    example = rows(*ROW)
    program = log(module.eval(), example)
    assert output_width(program, "classification") == 5
    tap = choose_tap(program).tap
    model = ExportedTappedModel(program, tap)
    inputs = torch.from_numpy(np.asarray(example, np.float32))
    expected = torch.from_numpy(run_registered(program, inputs.numpy()))
    tapped = model(inputs)
    torch.testing.assert_close(registered(tapped.outputs), expected)
    torch.testing.assert_close(model.as_registered(inputs).outputs, expected)
    # A regressor's outputs are what they are.
    same = ExportedTappedModel(program, tap, task="regression")(inputs).outputs
    torch.testing.assert_close(same, expected)
    trained(model, inputs)
    written = run_registered(model.write_back(), inputs.numpy())
    torch.testing.assert_close(
        torch.from_numpy(written), model.as_registered(inputs).outputs.detach()
    )
    assert np.abs(written - expected.numpy()).max() > 1e-5


class Softly(Base):
    """A softmax over the batch, or over a part of the classes, is none of one row's classes."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.last = way, nn.Linear(32, 6)

    def ending(self, outputs: Tensor) -> Tensor:
        if self.way == "batch":
            return outputs.softmax(dim=0)
        parts: Tensor = outputs.unflatten(1, (2, 3))
        return parts.softmax(dim=2).flatten(1)


@pytest.mark.parametrize("way", ["batch", "parts"])
def test_another_softmax_is_left_alone(way: str, log: Log) -> None:
    program = log(Softly(way).eval(), rows(*ROW))
    inputs = torch.from_numpy(np.asarray(rows(*ROW), np.float32))
    outputs = ExportedTappedModel(program, choose_tap(program).tap)(inputs).outputs
    expected = torch.from_numpy(run_registered(program, inputs.numpy()))
    torch.testing.assert_close(outputs, expected)


@pytest.mark.parametrize("way", ["in place", "assigned", "copied"])
def test_a_counter_stays_as_it_was(way: str, log: Log, tmp_path: Path) -> None:
    program = log(Counting(way).eval(), rows(*ROW))
    stood = float(program.state_dict["calls"])
    inputs = np.asarray(rows(*ROW), np.float32)
    outputs = run_registered(program, inputs)
    model = ExportedTappedModel(program, choose_tap(program).tap)
    torch.testing.assert_close(model(torch.from_numpy(inputs)).outputs, torch.from_numpy(outputs))
    trained(model, torch.from_numpy(inputs))
    written = model.write_back()
    assert float(written.state_dict["calls"]) == float(program.state_dict["calls"]) == stood
    if way == "copied":
        export_onnx(model, inputs, tmp_path / "m.onnx")
    # It goes on counting where it is served.
    served = written.module()
    with torch.no_grad():
        served(torch.from_numpy(inputs))
    assert float(written.state_dict["calls"]) != stood


class OnItsInput(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        inputs.mul_(2.0)
        hidden = self.first(inputs)
        hidden.add_(1)
        rectified: Tensor = hidden.relu_()
        return rectified


class Frozen(Base):
    def hidden(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = torch.relu(self.first(inputs))
            hidden.add_(1)
        return hidden


TAKEN: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "instance norm": (images(nn.InstanceNorm2d(8, affine=True)), IMAGE),
    "instance norm with statistics": (
        images(nn.InstanceNorm2d(8, affine=True, track_running_stats=True)), IMAGE
    ),
    "group norm": (images(nn.GroupNorm(2, 8)), IMAGE),
    "its own input": (OnItsInput(), ROW),
    "no gradient": (Frozen(), ROW),
    "rectifiers": (layers(nn.RReLU(), nn.Dropout(0.3), nn.AlphaDropout(0.2)), ROW),
    "spectral norm": (layers(nn.utils.parametrizations.spectral_norm(nn.Linear(32, 32))), ROW),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_in_evaluation_is_taken(kind: str, log: Log) -> None:
    module, shape = TAKEN[kind]
    program = log(module.eval(), rows(*shape))
    inputs = torch.from_numpy(np.asarray(rows(*shape), np.float32))
    kept = inputs.clone()
    outputs = ExportedTappedModel(program, choose_tap(program).tap)(inputs).outputs
    assert torch.equal(inputs, kept)
    torch.testing.assert_close(outputs.detach().numpy(), run_registered(program, kept.numpy()))


def test_no_dropout_between_layers_is_no_training_mode(log: Log) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.last = nn.GRU(4, 16, batch_first=True), nn.Linear(16, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.last(self.rnn(inputs)[0][:, -1])
            return outputs

    assert choose_tap(log(Recurrent().train(), rows(5, 4))).neurons == 16
