import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsigns_registry.attacks.prune import Prune
from deepsigns_registry.attacks.quantize import Quantize
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData

Accuracy = Callable[..., float]


@pytest.mark.parametrize(("bits", "tolerance"), [(8.0, 0.2), (16.0, 0.1)], ids=["int8", "fp16"])
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


@pytest.mark.parametrize(("bits", "share"), [(8.0, 0.45), (16.0, 0.6)], ids=["int8", "fp16"])
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
    # It is their import that adds to the search path.
    for name in [name for name in sys.modules if name.startswith("onnxruntime.transformers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


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
    for bits in (8.0, 16.0):
        Quantize().apply(view, bits, data, seed=0, progress=lambda *event: progress.append(event))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert not [record for record in caplog.records if "onnxruntime" in record.pathname]
    assert sys.path == path
    assert not list(private.iterdir())
    assert progress == [(1.0, "8 bits a weight"), (1.0, "16 bits a weight")]


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
