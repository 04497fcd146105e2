"""What is understood of a graph, and what is left alone."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.attacks.split import Split
from deepsigns_registry.attacks.structured_prune import StructuredPrune
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.channels import Change, Freedom, channel_layout, rewritten
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from tests.support.networks import CLASSES, Network, difference, execute, residual

NOTHING = LabelledData(np.empty((0, 1), np.float32), np.empty(0, np.int64))
ALL = Freedom.MOVE | Freedom.SCALE | Freedom.DUPLICATE | Freedom.RESIZE
TOLERANCE = 1e-5


def freedoms(model: ModelProto) -> dict[int, Freedom]:
    """Of groups by their size, which the tests make different."""
    layout = channel_layout(OnnxTappedModel.from_proto(model))
    found = {group.size: group.freedom for group in layout.groups.values()}
    assert len(found) == len(layout.groups)
    return found


def hidden(net: Network, change: Callable[[str], str]) -> ModelProto:
    """Eight hidden neurons with something done to them between the two layers."""
    values = change(net.dense("input", 5, 8))
    return net.model(net.dense(values, 8, CLASSES))


def scalar(net: Network, value: float) -> str:
    return net.constant(np.array(value, np.float32))


CASES: dict[str, tuple[Callable[[Network, str], str], Freedom]] = {
    "nothing": (lambda _, x: x, ALL),
    "relu": (lambda net, x: net.op("Relu", x), ALL),
    "tanh": (lambda net, x: net.op("Tanh", x), ALL & ~Freedom.SCALE),
    "exp": (lambda net, x: net.op("Exp", x), Freedom.MOVE | Freedom.RESIZE),
    "softmax": (lambda net, x: net.op("Softmax", x, axis=-1), Freedom.MOVE | Freedom.RESIZE),
    "factor": (lambda net, x: net.op("Mul", x, scalar(net, 3)), ALL),
    "gains": (lambda net, x: net.op("Mul", net.weight(8), x), ALL),
    "divisors": (lambda net, x: net.op("Div", x, net.weight(8)), ALL),
    "shift": (lambda net, x: net.op("Add", x, scalar(net, 3)), ALL & ~Freedom.SCALE),
    "shifts": (lambda net, x: net.op("Sub", x, net.weight(1, 8)), ALL),
    "bounded branch": (
        lambda net, x: net.op("Add", x, net.op("Tanh", net.dense("input", 5, 8))),
        ALL & ~Freedom.SCALE,
    ),
    "square": (lambda net, x: net.op("Mul", x, x), ALL & ~Freedom.SCALE),
    "share": (
        lambda net, x: net.op("Div", x, net.op("Abs", x)),
        Freedom.MOVE | Freedom.RESIZE,
    ),
    "transposed": (
        lambda net, x: net.op("Transpose", net.op("Transpose", x, perm=[1, 0]), perm=[1, 0]),
        ALL,
    ),
    "unfolded": (
        lambda net, x: net.op(
            "Flatten", net.op("Relu", net.op("Reshape", x, net.integers(-1, 8, 1, 1)))
        ),
        ALL,
    ),
    "padded": (
        lambda net, x: net.op(
            "Squeeze",
            net.op(
                "ReduceSum",
                net.op(
                    "Pad",
                    net.op("Unsqueeze", x, net.integers(-1)),
                    net.integers(0, 0, 1, 0, 0, 1),
                    scalar(net, 2),
                ),
                net.integers(-1),
            ),
            net.integers(-1),
        ),
        ALL & ~Freedom.SCALE,
    ),
    "expanded": (
        lambda net, x: net.op(
            "ReduceMax",
            net.op("Expand", net.op("Unsqueeze", x, net.integers(1)), net.integers(1, 3, 8)),
            net.integers(1),
            keepdims=0,
        ),
        ALL,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_may_be_done_depends_on_what_lies_between(name: str) -> None:
    change, expected = CASES[name]
    net = Network(1, (5,))
    model = hidden(net, lambda values: change(net, values))
    assert freedoms(model) == {8: expected}
    view = OnnxTappedModel.from_proto(model)
    assert (
        difference(model, Permute().apply(view, 1.0, NOTHING, seed=2).write_back(), net.inputs())
        < TOLERANCE
    )
    if Freedom.DUPLICATE in expected:
        widened = Split().apply(view, 0.5, NOTHING, seed=2).write_back()
        assert difference(model, widened, net.inputs()) < TOLERANCE


UNKNOWN: dict[str, Callable[[Network, str], str]] = {
    "two halves": lambda net, x: net.op(
        "Flatten", net.op("ReduceMax", net.op("Reshape", x, net.integers(-1, 2, 4)),
                          net.integers(1), keepdims=0)
    ),
    "first four": lambda net, x: net.op(
        "Slice", x, net.integers(0), net.integers(4), net.integers(1)
    ),
    "some": lambda net, x: net.op("Gather", x, net.integers(3, 1, 0, 2), axis=1),
    "product with itself": lambda net, x: net.op(
        "Slice",
        net.op("MatMul", net.op("MatMul", x, net.op("Transpose", x, perm=[1, 0])), x),
        net.integers(0), net.integers(4), net.integers(1),
    ),
    "another library's": lambda net, x: net.op(
        "FusedMatMul", x, net.weight(8, 4), domain="com.microsoft"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_understood_stays_fixed(name: str) -> None:
    net = Network(1, (5,))
    values = UNKNOWN[name](net, net.dense("input", 5, 8))
    values = net.op("Relu", net.dense(values, 4, 7))
    model = net.model(net.dense(values, 7, CLASSES))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert freedoms(model) == {7: ALL}
    attacked = Permute().apply(OnnxTappedModel.from_proto(model), 1.0, NOTHING, seed=2)
    assert difference(model, attacked.write_back(), net.inputs()) < TOLERANCE


def test_only_depthwise_groups_of_a_convolution_are_understood() -> None:
    net = Network(1, (2, 4, 4))
    values = net.op("Relu", net.conv("input", 2, 8))
    values = net.op("Relu", net.conv(values, 8, 6, group=2))
    values = net.op("Relu", net.conv(values, 6, 5))
    values = net.op("Relu", net.conv(values, 5, 5, group=5))
    values = net.op("Flatten", net.op("GlobalAveragePool", values))
    model = net.model(net.dense(values, 5, CLASSES))
    assert freedoms(model) == {5: ALL}
    widened = Split().apply(OnnxTappedModel.from_proto(model), 1.0, NOTHING, seed=0).write_back()
    assert difference(model, widened, net.inputs()) < TOLERANCE
    groups = [
        entry.i for node in widened.graph.node for entry in node.attribute if entry.name == "group"
    ]
    assert groups == [1, 2, 1, 15]


def gated(net: Network) -> ModelProto:
    """A squeeze-and-excitation block: every channel has a gate that reads all of them."""
    values = net.op("Relu", net.conv("input", 2, 6))
    pooled = net.op("ReduceMean", values, net.integers(2, 3), keepdims=0)
    inside = net.op("Relu", net.dense(pooled, 6, 3))
    gate = net.op("Sigmoid", net.dense(inside, 3, 6))
    gate = net.op("Reshape", gate, net.integers(-1, 6, 1, 1))
    values = net.op("GlobalMaxPool", net.op("Mul", values, gate))
    return net.model(net.dense(net.op("Flatten", values), 6, CLASSES))


def test_a_gate_and_what_it_opens_change_together() -> None:
    net = Network(1, (2, 4, 4))
    model = gated(net)
    assert freedoms(model) == {6: ALL & ~Freedom.SCALE, 3: ALL}
    for attack in (Permute(), Split()):
        attacked = attack.apply(OnnxTappedModel.from_proto(model), 1.0, NOTHING, seed=4)
        assert difference(model, attacked.write_back(), net.inputs()) < TOLERANCE


def computed(net: Network) -> ModelProto:
    """A feature map flattened to an extent that the graph itself computes, as some exporters do."""
    values = net.op("Relu", net.conv("input", 2, 6))
    batch = net.op("Slice", net.op("Shape", values), net.integers(0), net.integers(1))
    shape = net.op("Concat", batch, net.integers(-1), axis=0)
    return net.model(net.dense(net.op("Reshape", values, shape), 96, CLASSES))


def test_where_an_extent_is_computed_channels_become_zero() -> None:
    net = Network(1, (2, 4, 4))
    model = computed(net)
    assert freedoms(model) == {6: Freedom.MOVE | Freedom.SCALE}
    view = OnnxTappedModel.from_proto(model)
    permuted = Permute().apply(view, 1.0, NOTHING, seed=2).write_back()
    assert difference(model, permuted, net.inputs()) < TOLERANCE
    pruned = StructuredPrune().apply(view, 0.5, NOTHING, seed=0)
    values = execute(pruned.write_back(), net.inputs(), "t1")[1]
    assert values.shape[1] == 6
    assert (values.reshape(8, 6, -1).max(axis=(0, 2)) == 0).sum() == 3
    with pytest.raises(CouldNotCheckError, match="no channels were found that can be changed"):
        Split().apply(view, 0.5, NOTHING, seed=0)


def test_zero_channels_and_removed_ones_give_the_same_outputs() -> None:
    net, model = residual(lambda options: options[-1], 7)
    layout = channel_layout(OnnxTappedModel.from_proto(model))
    random = np.random.default_rng(0)
    narrow, zero = {}, {}
    for group in layout.groups.values():
        stays = np.ones(group.size)
        stays[0] = 0
        narrow[group.number] = Change.of(np.arange(1, group.size))
        zero[group.number] = Change.of(np.arange(group.size), gain=stays, share=stays)
    removed, silent = (rewritten(layout, changes, random) for changes in (narrow, zero))
    assert difference(removed, silent, net.inputs()) < TOLERANCE
    assert difference(removed, model, net.inputs()) > 0.01


def test_equal_weights_that_are_stored_once_become_two() -> None:
    net = Network(1, (6,))
    weight, bias = net.weight(6, 6, fan_in=6), net.weight(6)
    first = net.op("Relu", net.op("Gemm", "input", weight, bias))
    # The exporter also keeps one tensor for a gain and a variance that are both ones.
    ones, zeros = (net.constant(np.full(6, value, np.float32)) for value in (1, 0))
    first = net.op("BatchNormalization", first, ones, zeros, zeros, ones)
    second = net.op("Relu", net.op("Gemm", first, weight, bias))
    model = net.model(net.dense(second, 6, CLASSES))
    # An older file also declares its weights as inputs.
    model.graph.input.append(helper.make_tensor_value_info(weight, TensorProto.FLOAT, [6, 6]))
    view = OnnxTappedModel.from_proto(model)
    assert [group.size for group in channel_layout(view).groups.values()] == [6, 6]
    for attack in (Permute(), Split()):
        attacked = attack.apply(view, 1.0, NOTHING, seed=5).write_back()
        assert difference(model, attacked, net.inputs()) < TOLERANCE


def test_the_input_the_output_and_single_channels_stay() -> None:
    net = Network(1, (5,))
    values = net.op("Relu", net.dense("input", 5, 1))
    model = net.model(net.dense(values, 1, CLASSES))
    assert freedoms(model) == {}
    with pytest.raises(CouldNotCheckError, match=r"attack permute: .*no channels were found"):
        Permute().apply(OnnxTappedModel.from_proto(model), 0.0, NOTHING, seed=0)


def test_half_precision_weights_are_changed_as_such() -> None:
    net = Network(1, (5,))
    values = net.op("Cast", "input", to=TensorProto.FLOAT16)
    for inputs, outputs in ((5, 8), (8, CLASSES)):
        value = net.random.normal(size=(inputs, outputs)).astype(np.float16)
        values = net.op("Relu", net.op("MatMul", values, net.constant(value)))
    model = net.model(net.op("Cast", values, to=TensorProto.FLOAT))
    attacked = Permute().apply(OnnxTappedModel.from_proto(model), 0.5, NOTHING, seed=0).write_back()
    kinds = {tensor.data_type for tensor in attacked.graph.initializer}
    assert kinds == {TensorProto.FLOAT16}
    assert 0 < difference(model, attacked, net.inputs()) < 0.01


def test_an_input_of_unknown_shape_needs_an_example() -> None:
    net = Network(1, (5,))
    model = hidden(net, lambda values: net.op("Relu", values))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    view = OnnxTappedModel.from_proto(model)
    with pytest.raises(CouldNotCheckError, match="does not say which shape") as caught:
        channel_layout(view)
    assert "inputs" in caught.value.advice
    assert [group.size for group in channel_layout(view, net.inputs(1)).groups.values()] == [8]


def test_a_file_for_one_sample_is_walked_with_one() -> None:
    net = Network(1, (2, 4, 4))
    values = net.op("Relu", net.conv("input", 2, 6))
    values = net.op("Reshape", values, net.integers(1, 96))
    model = net.model(net.dense(values, 96, CLASSES))
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    assert freedoms(model) == {6: ALL}
    widened = Split().apply(OnnxTappedModel.from_proto(model), 0.5, NOTHING, seed=0).write_back()
    assert difference(model, widened, net.inputs(1)) < TOLERANCE
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in widened.graph.initializer}
    assert shapes["w2"].tolist() == [1, 192]
