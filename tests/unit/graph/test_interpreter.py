import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch.nn import functional

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import OnnxSuspect

Build = Callable[..., ModelProto]
Vectors = NDArray[np.float32]


@pytest.fixture
def normalised(build: Build) -> ModelProto:
    """Two linear layers with a batch normalisation between them that survived the export."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["input", "w", "b"], ["h"]),
        helper.make_node("BatchNormalization", ["h", "s", "o", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MatMul", ["r", "u"], ["output"]),
    ]
    shapes = {"w": (4, 5), "b": (5,), "s": (5,), "o": (5,), "m": (5,), "v": (5,), "u": (5, 3)}
    values = {name: random.uniform(0.5, 1, extents) for name, extents in shapes.items()}
    return build(nodes, {name: value.astype(np.float32) for name, value in values.items()})


def test_it_gives_what_onnxruntime_gives(cnn_file: tuple[Path, str], images: Vectors) -> None:
    path, tap = cnn_file
    outputs, activation = OnnxSuspect(path).run(images, tap=tap)
    with torch.no_grad():
        tapped = OnnxTappedModel.from_file(path, tap).eval()(torch.from_numpy(images))
    assert activation is not None
    np.testing.assert_allclose(tapped.outputs.numpy(), outputs, atol=1e-6)
    np.testing.assert_allclose(tapped.activation.numpy(), activation, atol=1e-6)


def test_written_back_untrained_it_is_the_same_file(
    cnn_file: tuple[Path, str], normalised: ModelProto
) -> None:
    path, tap = cnn_file
    assert OnnxTappedModel.from_file(path, tap).to_bytes() == path.read_bytes()
    written = OnnxTappedModel.from_proto(normalised).write_back()
    assert written == normalised


def test_training_changes_the_file_and_keeps_its_names(
    cnn_file: tuple[Path, str], images: Vectors, tmp_path: Path
) -> None:
    path, tap = cnn_file
    model = OnnxTappedModel.from_file(path, tap)
    labels = torch.arange(len(images)) % 4
    inputs = torch.from_numpy(images)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = functional.cross_entropy(model(inputs).outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    trained = tmp_path / "trained.onnx"
    trained.write_bytes(model.to_bytes())
    outputs, activation = OnnxSuspect(trained).run(images, tap=tap)
    with torch.no_grad():
        tapped = model.eval()(inputs)
    assert activation is not None
    np.testing.assert_allclose(outputs, tapped.outputs.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(activation, tapped.activation.numpy(), rtol=1e-4, atol=1e-4)


def test_statistics_are_buffers_that_follow_training(normalised: ModelProto) -> None:
    model = OnnxTappedModel.from_proto(normalised)
    assert len(list(model.parameters())) == 5
    assert len(list(model.buffers())) == 2
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    model.eval()(inputs)
    assert model.write_back() == normalised
    model.train()(inputs)
    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        for proto in (normalised, model.write_back())
    )
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"m", "v"}


def test_a_copy_is_independent(normalised: ModelProto) -> None:
    model = OnnxTappedModel.from_proto(normalised, "r")
    clone = copy.deepcopy(model)
    with torch.no_grad():
        for weight in clone.parameters():
            weight.zero_()
    assert model.write_back() == normalised
    assert clone.write_back() != normalised
    assert clone.tap == "r"


def test_without_a_tap_activations_are_empty(normalised: ModelProto) -> None:
    tapped = OnnxTappedModel.from_proto(normalised)(torch.ones(2, 4))
    assert tapped.activation.shape == (2, 0)


def test_weights_in_constant_nodes_are_trained_too(build: Build) -> None:
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Constant", [], ["shape"], value_ints=[-1, 3]),
        helper.make_node("MatMul", ["input", "w"], ["h"]),
        helper.make_node("Mul", ["h", "two"], ["g"]),
        helper.make_node("Reshape", ["g", "shape"], ["output"]),
    ]
    model = OnnxTappedModel.from_proto(build(nodes))
    assert [tuple(weight.shape) for weight in model.parameters()] == [(4, 3)]
    np.testing.assert_array_equal(model(torch.ones(2, 4)).outputs.detach().numpy(), 8.0)


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT]
)
def test_every_float_type_is_written_back_as_it_was(build: Build, kind: int) -> None:
    values = np.random.default_rng(0).normal(size=(4, 3))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Cast", ["input"], ["h"], to=kind),
        helper.make_node("MatMul", ["h", "w"], ["output"]),
    ]
    model = build(nodes, {"w": values.astype(dtype)})
    view = OnnxTappedModel.from_proto(model)
    assert len(list(view.parameters())) == 1
    assert view.write_back() == model


def test_nodes_may_stand_in_any_order(build: Build) -> None:
    nodes = [
        helper.make_node("Relu", ["h"], ["output"]),
        helper.make_node("Neg", ["input"], ["h"]),
    ]
    outputs = OnnxTappedModel.from_proto(build(nodes))(torch.tensor([[1.0, -2.0]])).outputs
    assert outputs.tolist() == [[0.0, 2.0]]


def test_an_unsupported_operator_is_named(build: Build) -> None:
    with pytest.raises(CouldNotCheckError, match="ONNX operator Sinh is not supported"):
        OnnxTappedModel.from_proto(build([helper.make_node("Sinh", ["input"], ["output"])]))


def test_an_unsupported_variant_is_named(build: Build) -> None:
    node = helper.make_node("MaxPool", ["input"], ["output", "indices"], kernel_shape=[2])
    model = OnnxTappedModel.from_proto(build([node]))
    with pytest.raises(CouldNotCheckError, match=r"operator MaxPool .*indices"):
        model(torch.ones(1, 1, 4))


@pytest.mark.parametrize(
    ("operator", "attributes", "words"),
    [
        ("GRU", {}, "reset gate"),
        ("GRU", {"linear_before_reset": 1, "layout": 1}, "layout"),
        ("LSTM", {"direction": "reverse"}, "direction"),
        ("LSTM", {"input_forget": 1}, "coupled"),
    ],
)
def test_an_unsupported_recurrence_is_named(
    build: Build, operator: str, attributes: dict[str, Any], words: str
) -> None:
    gates = 4 if operator == "LSTM" else 3
    weights = {"w": np.ones((1, 2 * gates, 3)), "r": np.ones((1, 2 * gates, 2))}
    node = helper.make_node(operator, ["input", "w", "r"], ["output"], hidden_size=2, **attributes)
    constants = {name: value.astype(np.float32) for name, value in weights.items()}
    with pytest.raises(CouldNotCheckError, match=rf"operator {operator} .*{words}"):
        OnnxTappedModel.from_proto(build([node], constants))(torch.ones(4, 1, 3))


def test_an_unknown_tap_and_dangling_inputs_are_refused(
    build: Build, normalised: ModelProto
) -> None:
    with pytest.raises(CouldNotCheckError, match="no tensor 'x'"):
        OnnxTappedModel.from_proto(normalised, "x")
    with pytest.raises(CouldNotCheckError, match="nothing writes"):
        OnnxTappedModel.from_proto(build([helper.make_node("Relu", ["lost"], ["output"])]))


def test_a_batch_of_another_shape_is_one_clear_line(normalised: ModelProto) -> None:
    with pytest.raises(CouldNotCheckError, match=r"node h \(Gemm\)") as caught:
        OnnxTappedModel.from_proto(normalised)(torch.ones(2, 9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("operator", ["Expand", "ConstantOfShape", "Concat"])
def test_a_bomb_ends_before_the_memory_does(build: Build, operator: str) -> None:
    huge = {"shape": np.array([2**33], np.int64)}
    if operator == "Concat":
        nodes = [
            helper.make_node("Concat", [f"t{i}" if i else "input"] * 64, [f"t{i + 1}"], axis=1)
            for i in range(5)
        ]
        nodes.append(helper.make_node("Relu", ["t5"], ["output"]))
        model = OnnxTappedModel.from_proto(build(nodes))
        # On the meta device nothing is filled: only the count is tested.
        inputs = torch.ones(2, 4, device="meta")
    elif operator == "Expand":
        nodes = [
            helper.make_node("ReduceSum", ["input"], ["s"], keepdims=0),
            helper.make_node("Expand", ["s", "shape"], ["output"]),
        ]
        model, inputs = OnnxTappedModel.from_proto(build(nodes, huge)), torch.ones(2, 4)
    else:
        nodes = [helper.make_node("ConstantOfShape", ["shape"], ["output"])]
        model, inputs = OnnxTappedModel.from_proto(build(nodes, huge)), torch.ones(2, 4)
    with pytest.raises(CouldNotCheckError, match="values"):
        model(inputs)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.STRING, 99])
def test_tensors_that_cannot_be_read_are_refused(build: Build, kind: int) -> None:
    model = build([helper.make_node("Add", ["input", "w"], ["output"])])
    model.graph.initializer.append(
        TensorProto(name="w", data_type=kind, dims=[4], raw_data=b"12345678")
    )
    with pytest.raises(CouldNotCheckError, match="cannot be read"):
        OnnxTappedModel.from_proto(model)
