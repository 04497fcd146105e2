import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from deepsigns_registry.attacks.prune import Prune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData

Accuracy = Callable[..., float]


@pytest.mark.parametrize(
    ("bits", "tolerance"), [(8.0, 0.2), (16.0, 0.1), (7.0, 0.5)], ids=["int8", "fp16", "static"]
)
def test_the_file_and_its_view_still_agree(
    view: OnnxTappedModel, data: LabelledData, tmp_path: Path, bits: float, tolerance: float
) -> None:
    quantized = Quantize().apply(view, bits, data, seed=0)
    assert isinstance(quantized, OnnxTappedModel)
    assert quantized.tap == view.tap
    path = tmp_path / "quantized.onnx"
    path.write_bytes(quantized.to_bytes())
    # One chunk of the sandbox: dynamic quantisation depends on the whole batch.
    inputs = data.inputs[:100]
    outputs, activation = OnnxSuspect(path).run(inputs, tap=view.tap)
    with torch.no_grad():
        original, tapped = (model(torch.from_numpy(inputs)) for model in (view, quantized))
    assert activation is not None
    np.testing.assert_allclose(tapped.outputs.numpy(), outputs, atol=tolerance / 10)
    np.testing.assert_allclose(tapped.activation.numpy(), activation, atol=tolerance / 10)
    np.testing.assert_allclose(original.outputs.numpy(), outputs, atol=tolerance)
    assert np.abs(original.outputs.numpy() - outputs).max() > 0


@pytest.mark.parametrize(
    ("bits", "share"), [(8.0, 0.45), (16.0, 0.6), (7.0, 0.6)], ids=["int8", "fp16", "static"]
)
def test_the_file_gets_smaller_and_works(
    view: OnnxTappedModel,
    data: LabelledData,
    accuracy: Accuracy,
    bits: float,
    share: float,
) -> None:
    quantized = Quantize().apply(view, bits, data, seed=0)
    assert isinstance(quantized, OnnxTappedModel)
    assert len(quantized.to_bytes()) < share * len(view.to_bytes())
    assert accuracy(quantized, data) > 0.9


def test_a_model_that_is_no_file_gets_the_rounded_weights(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    eight = Quantize().apply(eager, 8.0, data, seed=0)
    half = Quantize().apply(eager, 16.0, data, seed=0)
    for weight, low, mid in zip(
        eager.parameters(), eight.parameters(), half.parameters(), strict=True
    ):
        assert torch.equal(mid, weight.half().float())
        steps = low / (weight.abs().max() / 127)
        assert weight.ndim < 2 or torch.allclose(steps, steps.round(), atol=1e-3)
        assert weight.ndim < 2 or len(low.unique()) <= 255


def test_attacks_can_follow_each_other(view: OnnxTappedModel, data: LabelledData) -> None:
    pruned = Prune().apply(view, 0.5, data, seed=0)
    half = Quantize().apply(pruned, 16.0, data, seed=0)
    eight = Quantize().apply(half, 8.0, data, seed=0)
    assert isinstance(eight, OnnxTappedModel)
    assert eight(torch.from_numpy(data.inputs[:2])).outputs.shape == (2, 4)


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that could be written goes here, and onnxruntime's tools are imported anew."""
    # It is their import that adds to the search path; some import each other without a package.
    for name, module in list(sys.modules.items()):
        file = str(getattr(module, "__file__", ""))
        if "onnxruntime/transformers" in file or "onnxruntime/quantization" in file:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("formats", [(16, 8, 7), (7, 16, 8)])
def test_formats_may_come_in_any_order(
    formats: tuple[int, ...], view: OnnxTappedModel, data: LabelledData
) -> None:
    for bits in formats:
        assert Quantize().apply(view, bits, data, seed=0).tap == view.tap


def test_it_is_quiet_and_leaves_nothing_behind(
    view: OnnxTappedModel,
    data: LabelledData,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    private: Path,
) -> None:
    caplog.set_level(logging.INFO)
    handlers, path = list(logging.getLogger().handlers), list(sys.path)
    progress: list[tuple[float, str]] = []
    for bits in (8, 16, 7):
        Quantize().apply(view, bits, data, seed=0, progress=lambda *event: progress.append(event))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert not [record for record in caplog.records if "onnxruntime" in record.pathname]
    assert sys.path == path
    assert not list(private.iterdir())
    assert progress == [(1.0, f"{bits} bits a weight") for bits in (8, 16, 7)]


def test_a_default_export_with_its_noted_shapes_is_quantised(
    eager: EagerTappedModel, data: LabelledData
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            eager.module,
            (torch.from_numpy(data.inputs[:2]),),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            verbose=False,
        )
    assert program is not None
    assert program.model_proto.graph.value_info
    model = OnnxTappedModel.from_proto(program.model_proto)
    quantized = Quantize().apply(model, 8.0, data, seed=0)
    assert isinstance(quantized, OnnxTappedModel)
    operators = {node.op_type for node in quantized.write_back().graph.node}
    assert {"ConvInteger", "MatMulInteger"} <= operators


def test_static_steps_come_from_the_data(view: OnnxTappedModel, data: LabelledData) -> None:
    louder = LabelledData(3 * data.inputs, data.labels)
    steps = []
    for given in (data, louder):
        quantized = Quantize().apply(view, 7.0, given, seed=0)
        assert isinstance(quantized, OnnxTappedModel)
        graph = quantized.write_back().graph
        (first,) = [node for node in graph.node if list(node.input)[:1] == ["input"]]
        assert first.op_type == "QuantizeLinear"
        constants = {tensor.name: tensor for tensor in graph.initializer}
        steps.append(float(numpy_helper.to_array(constants[first.input[1]])))
        assert not [weight for weight in quantized.parameters() if weight.ndim > 1]
    # Pixels in 255 steps from their least to their greatest value.
    chosen = np.ptp(data.inputs) / 255
    assert steps == pytest.approx([chosen, 3 * chosen], rel=0.1)


def test_every_name_stays_with_its_value(view: OnnxTappedModel, data: LabelledData) -> None:
    quantized = Quantize().apply(view, 7.0, data, seed=0)
    assert isinstance(quantized, OnnxTappedModel)
    inputs = torch.from_numpy(data.inputs[:100])
    with torch.no_grad():
        before, after = view.tensors(inputs), quantized.tensors(inputs)
    common = {name for node in view.write_back().graph.node for name in node.output} & set(after)
    assert view.tap in common
    assert len(common) >= 5
    for name in common:
        ours, theirs = before[name], after[name]
        assert ours is not None
        assert theirs is not None
        # A ReLU's name on what the ReLU reads would give a relative error of about one.
        assert float((ours - theirs).norm() / ours.norm()) < 0.1, name


def test_a_transformer_is_quantised_statically(data: LabelledData, tmp_path: Path) -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    layers = [nn.Flatten(1, 2), nn.Linear(8, 16), block, nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)]
    model = EagerTappedModel(nn.Sequential(*layers).eval(), "3")
    path = tmp_path / "model.onnx"
    tap = export_onnx(model, data.inputs[:4], path)
    quantized = Quantize().apply(OnnxTappedModel.from_file(path, tap), 7.0, data, seed=0)
    assert quantized.tap == tap
    inputs = torch.from_numpy(data.inputs[:100])
    with torch.no_grad():
        ours, theirs = model(inputs), quantized(inputs)
    pairs = (ours.outputs, theirs.outputs), (ours.activation, theirs.activation)
    for before, after in pairs:
        assert float((before - after).norm() / before.norm()) < 0.1


def test_static_quantisation_needs_a_file_and_data(
    eager: EagerTappedModel, view: OnnxTappedModel, data: LabelledData
) -> None:
    with pytest.raises(CouldNotCheckError, match="needs an ONNX file; export the model first"):
        Quantize().apply(eager, 7.0, data, seed=0)
    with pytest.raises(DataError, match="no samples to calibrate with"):
        Quantize().apply(view, 7.0, LabelledData(data.inputs[:0], data.labels[:0]), seed=0)
    with pytest.raises(CouldNotCheckError, match="onnxruntime cannot quantise it"):
        Quantize().apply(view, 7.0, LabelledData(data.inputs[:, :, :4], data.labels), seed=0)


def test_four_bits_leave_fifteen_values_a_block(
    view: OnnxTappedModel, data: LabelledData, accuracy: Accuracy
) -> None:
    quantized = Quantize().apply(view, 4.0, data, seed=0)
    for old, new in zip(view.parameters(), quantized.parameters(), strict=True):
        if old.ndim < 2:
            assert torch.equal(old, new)
            continue
        blocks = zip(
            old.detach().flatten().split(32), new.detach().flatten().split(32), strict=True
        )
        for before, after in blocks:
            step = float(before.abs().max()) / 7
            assert len(after.unique()) <= 15
            assert float((before - after).abs().max()) <= 0.501 * step
    assert accuracy(quantized, data) > 0.9
