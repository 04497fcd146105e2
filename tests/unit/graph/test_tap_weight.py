"""The weight behind a tap is the same in every form of a file, and hostile graphs end the walk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.graph.tap_weight import read_weight
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from tests.unit.graph.conftest import Build

Floats = NDArray[np.float32]
_FUSED = {"QLinearConv", "QGemm"}


def _convolutional() -> tuple[nn.Sequential, str, tuple[int, ...]]:
    # The exporter folds the normalisation into the convolution and keeps its name.
    layers = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4)
    )
    assert isinstance(layers[1], nn.BatchNorm2d)
    assert layers[1].running_var is not None
    layers[1].running_var.uniform_(0.5, 3)
    nn.init.uniform_(layers[1].weight, 0.5, 2)
    return layers, "2", (2, 8, 8)


def _vectors() -> tuple[nn.Sequential, str, tuple[int, ...]]:
    return nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 4)), "1", (6,)


def _tokens() -> tuple[nn.Sequential, str, tuple[int, ...]]:
    layers = [nn.Linear(6, 12), nn.LayerNorm(12), nn.GELU(), nn.Flatten(), nn.Linear(36, 4)]
    return nn.Sequential(*layers), "2", (3, 6)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, inputs: Floats) -> None:
        self.batches = iter([{"input": inputs}])

    def get_next(self) -> dict[str, Floats] | None:
        return next(self.batches, None)


def _forms(path: Path, tap: str, inputs: Floats) -> dict[str, tuple[Path, str]]:
    """Every form that onnxruntime's own tools give a file, and the tap's tensor in each."""

    def fresh() -> ModelProto:
        model = onnx.load(path)
        del model.graph.value_info[:]
        return model

    def place(name: str) -> Path:
        return path.with_name(f"{name}.onnx")

    half = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    onnx.save(half, place("fp16"))
    forms = {"fp16": (place("fp16"), tap)}
    for kind, channel in [(QuantType.QInt8, False), (QuantType.QUInt8, True)]:
        name = f"dynamic-{kind}-{channel}"
        quantize_dynamic(fresh(), place(name), weight_type=kind, per_channel=channel)
        forms[name] = place(name), tap
    for layout, channel in [(QuantFormat.QDQ, True), (QuantFormat.QOperator, False)]:
        name = f"static-{layout}"
        reader = _Calibration(inputs)
        quantize_static(fresh(), place(name), reader, quant_format=layout, per_channel=channel)
        nodes = onnx.load(place(name)).graph.node
        # Where the activation was fused into its layer, the layer writes it: here the first one.
        fused = next((node.output[0] for node in nodes if node.op_type in _FUSED), tap)
        kept = any(tap in node.output for node in nodes)
        forms[name] = place(name), tap if kept else fused
    return forms


@pytest.mark.parametrize("build", [_convolutional, _vectors, _tokens])
def test_every_form_of_a_file_shows_the_weight(
    build: Callable[[], tuple[nn.Sequential, str, tuple[int, ...]]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module, tap, shape = build()
    inputs = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    model = EagerTappedModel(module.eval(), tap)
    model(torch.from_numpy(inputs))
    weight = model.tap_weight()
    assert weight is not None
    wanted = weight.detach().numpy()
    path = tmp_path / "model.onnx"
    name = export_onnx(model, inputs, path)
    plain = OnnxSuspect(path).weight(name)
    assert plain is not None
    np.testing.assert_allclose(plain, wanted, rtol=1e-5, atol=1e-6)
    view = OnnxTappedModel.from_file(path, name).tap_weight()
    assert view is not None
    assert np.array_equal(view.detach().numpy(), plain)
    for form, (file, tensor) in _forms(path, name, inputs).items():
        found = OnnxSuspect(file).weight(tensor)
        assert found is not None, form
        assert found.shape == wanted.shape, form
        # Eight bits over a range of at most twice the largest value: half a step is 1/255 of
        # it; 1% leaves room for a range that is not centred.
        assert np.abs(found - wanted).max() <= 0.01 * np.abs(wanted).max(), form
        if not form.startswith("static"):
            seen = OnnxTappedModel.from_file(file, tensor).tap_weight()
            assert seen is not None
            assert np.array_equal(seen.detach().numpy(), found), form


def test_a_loss_on_the_view_s_weight_trains_it(build: Build) -> None:
    weight = np.eye(4, dtype=np.float32)
    model = OnnxTappedModel.from_proto(
        build(
            [node("MatMul", ["input", "w"], ["h"]), node("Relu", ["h"], ["output"])], {"w": weight}
        ),
        "h",
    )
    rows = model.tap_weight()
    assert rows is not None
    torch.autograd.backward(rows[0].sum())
    (parameter,) = model.parameters()
    assert parameter.grad is not None
    # Neuron 0 is the first column of a MatMul's weight.
    assert parameter.grad.tolist() == [[1, 0, 0, 0]] * 4


def node(
    operator: str, inputs: list[str], outputs: list[str], **attributes: float | list[int]
) -> NodeProto:
    domain = "com.microsoft" if operator.startswith("Fused") else ""
    made = helper.make_node(operator, inputs, outputs, domain=domain)
    made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return made


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


W = np.arange(12, dtype=np.float32).reshape(4, 3)
ROWS = W.T.tolist()


@pytest.mark.parametrize(
    ("nodes", "constants", "rows"),
    [
        ([node("Gemm", ["input", "w"], ["t"])], {"w": W}, ROWS),
        ([node("Gemm", ["input", "w"], ["t"], transB=1)], {"w": W.T.copy()}, ROWS),
        ([node("Gemm", ["input", "w"], ["t"], alpha=2.0)], {"w": W}, (2 * W.T).tolist()),
        ([node("FusedMatMul", ["input", "w"], ["t"], transB=1)], {"w": W.T.copy()}, ROWS),
        (
            [node("Transpose", ["w"], ["v"], perm=[1, 0]), node("MatMul", ["input", "v"], ["t"])],
            {"w": W.T.copy()},
            ROWS,
        ),
        (
            [
                node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=1),
                node("MatMul", ["input", "v"], ["t"]),
            ],
            {"w": np.ones((4, 2), np.int8), "s": floats(2, 3), "z": np.array([0, -1], np.int8)},
            [[2] * 4, [6] * 4],
        ),
        (
            [
                node("DequantizeLinear", ["w", "s"], ["q"], axis=0),
                node("Transpose", ["q"], ["v"], perm=[1, 0]),
                node("MatMul", ["input", "v"], ["t"]),
            ],
            {"w": np.ones((2, 4), np.int8), "s": floats(2, 3)},
            [[2] * 4, [3] * 4],
        ),
        (
            [
                node("DequantizeLinear", ["w", "s"], ["v"], axis=-1),
                node("MatMul", ["input", "v"], ["t"]),
            ],
            {"w": np.ones((4, 2), np.int8), "s": floats(2, 3)},
            [[2] * 4, [3] * 4],
        ),
        (
            [
                node("MatMul", ["input", "w"], ["h"]),
                node("Add", ["h", "b"], ["a"]),
                node("BatchNormalization", ["a", "f", "b", "b", "v"], ["n"], epsilon=0.0),
                node("Relu", ["n"], ["t"]),
            ],
            {"w": W, "b": np.zeros(3, np.float32), "f": floats(1, 2, 3),
             "v": floats(1, 4, 9)},
            ROWS,
        ),
        (
            [
                node("MatMul", ["input", "w"], ["h"]),
                node("Relu", ["h"], ["a"]),
                node("BatchNormalization", ["a", "f", "b", "b", "v"], ["t"], epsilon=0.0),
            ],
            {"w": W, "b": np.zeros(3, np.float32), "f": floats(9, 9, 9),
             "v": floats(1, 1, 1)},
            ROWS,
        ),
        (
            [
                node("MatMul", ["input", "w"], ["h"]),
                node("Shape", ["input"], ["e"]),
                node("Sigmoid", ["h"], ["g"]),
                node("Mul", ["h", "g"], ["m"]),
                node("Reshape", ["m", "e"], ["t"]),
            ],
            {"w": W},
            ROWS,
        ),
    ],
)  # fmt: skip
def test_each_kind_of_layer(
    build: Build,
    nodes: list[NodeProto],
    constants: dict[str, NDArray[np.generic]],
    rows: list[list[float]],
) -> None:
    found = read_weight(build(nodes, constants), "t", where="it")
    assert found is not None
    assert found.tolist() == rows


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Relu", ["input"], ["t"])], {}),
        ([node("Relu", ["input"], ["other"])], {}),
        (
            [node("MatMul", ["input", "w"], ["h"]), node("Add", ["h", "input"], ["t"])],
            {"w": np.eye(4, dtype=np.float32)},
        ),
        ([node("MatMul", ["input", "input"], ["t"])], {}),
        ([node("MatMul", ["w", "input"], ["t"])], {"w": W.T.copy()}),
        ([node("Gemm", ["input", "w"], ["t"], transA=1)], {"w": W}),
        ([node("MatMul", ["input", "w"], ["t"])], {"w": np.ones((2, 4, 3), np.float32)}),
        ([node("ConvTranspose", ["input", "w"], ["t"], group=2)], {"w": np.ones((4, 1, 1), "f")}),
        (
            [node("MatMul", ["input", "w"], ["h"]), node("GRU", ["h", "w", "w"], ["t"])],
            {"w": W},
        ),
        # Nodes that read each other, or themselves.
        ([node("Relu", ["a"], ["t"]), node("Relu", ["t"], ["a"])], {}),
        (
            [
                node("Identity", ["b"], ["a"]),
                node("Identity", ["a"], ["b"]),
                node("MatMul", ["input", "a"], ["t"]),
            ],
            {},
        ),
        ([node("MatMulInteger", ["input", "w"], ["t"])], {"w": np.ones((4, 3), np.int8)}),
        # Steps and normalisations of another number than the neurons.
        (
            [node("DequantizeLinear", ["w", "s"], ["v"]), node("MatMul", ["input", "v"], ["t"])],
            {"w": np.ones((4, 2), np.int8), "s": np.ones(5, np.float32)},
        ),
        (
            [
                node("DequantizeLinear", ["w", "s", "z"], ["v"]),
                node("MatMul", ["input", "v"], ["t"]),
            ],
            {"w": np.ones((4, 1), np.int8), "s": np.ones(1, "f"), "z": np.zeros(3, np.int8)},
        ),
        (
            [
                node("MatMul", ["input", "w"], ["h"]),
                node("BatchNormalization", ["h", "b", "b", "b", "b"], ["t"]),
            ],
            {"w": W, "b": np.ones(7, np.float32)},
        ),
        # As many steps as neurons, but one for each input.
        (
            [
                node("DequantizeLinear", ["w", "s"], ["v"], axis=0),
                node("MatMul", ["input", "v"], ["t"]),
            ],
            {"w": np.ones((4, 4), np.int8), "s": floats(1, 2, 3, 4)},
        ),
        # One neuron by its weight, four if its steps were spread.
        (
            [
                node("DequantizeLinear", ["w", "s"], ["v"], axis=0),
                node("MatMul", ["input", "v"], ["t"]),
            ],
            {"w": np.ones((4, 1), np.int8), "s": floats(1, 2, 3, 4)},
        ),
    ],
)
def test_no_one_layer_is_no_weight(
    build: Build, nodes: list[NodeProto], constants: dict[str, NDArray[np.generic]]
) -> None:
    assert read_weight(build(nodes, constants), "t", where="it") is None


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("MatMulInteger", ["input", "w"], ["t", "u"])], {"w": np.ones((4, 3), np.int8)}),
    ],
)
def test_constants_that_do_not_fit_cannot_be_read(
    build: Build, nodes: list[NodeProto], constants: dict[str, NDArray[np.generic]]
) -> None:
    with pytest.raises(CouldNotCheckError, match="file: the weight behind the tap cannot be read"):
        read_weight(build(nodes, constants), "t", where="file")
