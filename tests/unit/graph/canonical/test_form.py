"""Single rewrites: what becomes of a graph, and where a rewrite would be wrong."""

import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical import normal_form
from tests.support.networks import CLASSES, Network, difference

CLOSE = 1e-5


def rewritten(net: Network, model: ModelProto, *, merged: bool = False) -> list[str]:
    """Kinds of the nodes that are left, of a normal form that gives the same."""
    form = normal_form(model, where="it", merged=merged)
    assert difference(model, form.model, net.inputs()) < CLOSE
    return [node.op_type for node in form.model.graph.node][:-1]


def image(seed: int = 1) -> Network:
    return Network(seed, (2, 6, 6))


def pooled(net: Network, values: str, channels: int) -> ModelProto:
    """The network's end, which no rewrite passes: a maximum over positions."""
    flat = net.op("Flatten", net.op("GlobalMaxPool", values))
    return net.model(net.dense(flat, channels, CLASSES))


END = ["GlobalMaxPool", "Flatten", "Gemm"]


def strided(net: Network, values: str, inputs: int, outputs: int, **how: object) -> str:
    weight = net.weight(outputs, inputs, 3, 3, fan_in=9 * inputs)
    return net.op("Conv", values, weight, net.weight(outputs), **how)


def test_layers_in_a_row_are_one() -> None:
    net = Network(1, (5,))
    values = "input"
    for width, style in ((7, "matmul"), (3, "gemm"), (6, "plain")):
        before = 5 if values == "input" else int(values.split()[1])
        values = net.dense(values, before, width, style) + f" {width}"
        values = values.split()[0] + f" {width}"
        net.nodes[-1].output[0] = values
    model = net.model(net.dense(values, 6, CLASSES))
    assert rewritten(net, model) == ["Gemm"]


@pytest.mark.parametrize("wrap", ["Identity", "Dropout", "Neg"])
def test_what_stands_between_layers_is_taken_in(wrap: str) -> None:
    net = Network(1, (5,))
    between = net.op(wrap, net.dense("input", 5, 4))
    assert rewritten(net, net.model(net.dense(between, 4, CLASSES))) == ["Gemm"]


def test_constants_of_an_input_are_folded_into_the_first_layer() -> None:
    net = Network(1, (5,))
    moved = net.op("Div", net.op("Sub", "input", net.weight(5)), net.weight(1, 5))
    assert rewritten(net, net.model(net.dense(moved, 5, CLASSES))) == ["Gemm"]


def test_a_weight_that_is_computed_of_constants_is_a_weight() -> None:
    net = Network(1, (5,))
    turned = net.op("Transpose", net.op("MatMul", net.weight(CLASSES, 4), net.weight(4, 5)))
    doubled = net.op("Mul", turned, net.constant(np.array(2, np.float32)))
    assert rewritten(net, net.model(net.op("MatMul", "input", doubled))) == ["MatMul"]


def test_kernels_of_one_place_are_taken_in_on_both_sides() -> None:
    net = image()
    first = net.conv(net.conv("input", 2, 5), 5, 4, kernel=1)
    plain = net.op("Conv", first, net.weight(3, 4, 1, 1))
    model = pooled(net, net.conv(plain, 3, 4), 4)
    # Zeros stand around what the padded one reads, where the offsets before it would be.
    assert rewritten(net, model) == ["Conv", "Conv", *END]
    net = image()
    plain = net.op("Conv", "input", net.weight(3, 2, 1, 1))
    assert rewritten(net, pooled(net, net.conv(plain, 3, 4), 4)) == ["Conv", *END]


@pytest.mark.parametrize(
    "how",
    [{}, {"strides": [2, 2]}, {"dilations": [2, 1]}, {"strides": [2, 1], "pads": [1, 0, 2, 1]}],
)
def test_a_kernel_without_padding_is_taken_in_by_the_one_before(how: dict[str, object]) -> None:
    net = Network(1, (2, 12, 12))
    first = strided(net, "input", 2, 4, **how)
    second = strided(net, first, 4, 3, dilations=[1, 2], strides=[1, 2])
    dilated = "dilations" in how
    expected = ["Conv", "Conv", *END] if dilated else ["Conv", *END]
    assert rewritten(net, pooled(net, second, 3)) == expected


def test_a_normalisation_before_a_padded_kernel_stays() -> None:
    net = image()
    normal = net.batch_norm(net.op("Relu", net.conv("input", 2, 4)), 4)
    expected = ["Conv", "Relu", "BatchNormalization", "Conv", *END]
    assert rewritten(net, pooled(net, net.conv(normal, 4, 3), 3)) == expected
    net = image()
    normal = net.batch_norm(net.op("Relu", net.conv("input", 2, 4)), 4)
    model = pooled(net, strided(net, normal, 4, 3), 3)
    assert rewritten(net, model) == ["Conv", "Relu", "Conv", *END]


def test_maps_of_channels_pass_averages_and_flattening() -> None:
    net = image()
    values = net.op("Relu", net.conv("input", 2, 4))
    mixed = net.conv(net.batch_norm(values, 4), 4, 6, kernel=1)
    average = net.op("AveragePool", mixed, kernel_shape=[2, 2], strides=[2, 2])
    model = net.model(net.dense(net.op("Flatten", average), 6 * 9, CLASSES))
    assert rewritten(net, model) == ["Conv", "Relu", "AveragePool", "Flatten", "Gemm"]
    net = image()
    values = net.op("Relu", net.conv("input", 2, 4))
    average = net.op(
        "AveragePool",
        net.conv(values, 4, 6, kernel=1),
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    )
    assert "Conv" in rewritten(net, pooled(net, average, 6))[2:]


def test_branches_that_are_added_are_one() -> None:
    net = image()
    wide, narrow = net.conv("input", 2, 2), net.conv("input", 2, 2, kernel=1)
    scaled = net.batch_norm("input", 2)
    added = net.op("Add", net.op("Sub", wide, narrow), net.op("Add", scaled, "input"))
    # A padded kernel, one of one place, a normalisation and the input itself.
    assert rewritten(net, pooled(net, net.op("Relu", added), 2)) == ["Conv", "Relu", *END]


def test_branches_side_by_side_are_one_also_behind_functions() -> None:
    net = image()
    parts = [net.op("Relu", net.conv("input", 2, 3)) for _ in range(3)]
    joined = net.op("Concat", *parts, axis=1)
    assert rewritten(net, pooled(net, joined, 9)) == ["Conv", "Relu", *END]
    net = image()
    others = [net.op(kind, net.conv("input", 2, 3)) for kind in ("Relu", "Tanh")]
    assert "Concat" in rewritten(net, pooled(net, net.op("Concat", *others, axis=1), 6))


def test_what_two_kinds_of_nodes_read_is_left() -> None:
    """A residual stream's layer cannot be folded into the one that reads it."""
    net = Network(1, (5,))
    stream = net.dense("input", 5, 4)
    inner = net.dense(net.op("Relu", net.dense(stream, 4, 4)), 4, 4)
    model = net.model(net.dense(net.op("Relu", net.op("Add", stream, inner)), 4, CLASSES))
    assert rewritten(net, model) == ["Gemm", "Gemm", "Relu", "Gemm", "Add", "Relu", "Gemm"]


def test_chosen_features_are_a_matrix() -> None:
    net = Network(1, (6,))
    first = net.op("Slice", "input", *(net.integers(value) for value in (0, 3, 1)))
    second = net.op("Slice", "input", *(net.integers(value) for value in (3, 9, 1)))
    added = net.op("Add", net.dense(first, 3, 4), net.dense(second, 3, 4))
    model = net.model(net.dense(net.op("Relu", added), 4, CLASSES))
    assert rewritten(net, model) == ["Gemm", "Relu", "Gemm"]
    net = Network(1, (6,))
    backwards = net.op("Gather", "input", net.integers(*range(5, -1, -1)), axis=1)
    assert rewritten(net, net.model(net.dense(backwards, 6, CLASSES))) == ["Gemm"]


def test_what_is_multiplied_by_zero_is_left_out() -> None:
    net = Network(1, (5,))
    values = net.dense(net.op("Relu", net.dense("input", 5, 4)), 4, CLASSES)
    silent = net.op("Mul", net.dense(net.op("Tanh", "input"), 5, CLASSES), zero(net))
    assert rewritten(net, net.model(net.op("Add", silent, values))) == ["Gemm", "Relu", "Gemm"]


def zero(net: Network) -> str:
    return net.constant(np.zeros(1, np.float32))


def widths(model: ModelProto) -> list[int]:
    names = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [
        names[node.input[1]][0] for node in model.graph.node if node.op_type in {"Conv", "Gemm"}
    ]


Units = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


@pytest.mark.parametrize(
    ("function", "change", "left"),
    [
        ("Relu", "equal", 7),
        ("Relu", "scaled", 7),
        ("Tanh", "equal", 7),
        ("Tanh", "scaled", 8),
        ("Relu", "cancelling", 6),
        ("Sigmoid", "cancelling", 6),
        ("Relu", "dead", 7),
        ("Relu", "constant", 7),
        ("Sigmoid", "constant", 7),
        ("Gelu", "constant", 8),
    ],
)
def test_units_without_an_effect_of_their_own_are_merged(
    function: str, change: str, left: int
) -> None:
    net = Network(1, (5,))
    rows, bias = net.random.normal(size=(8, 5)), net.random.normal(size=8)
    columns = net.random.normal(size=(CLASSES, 8))
    if change in {"equal", "scaled", "cancelling"}:
        factor = 3 if change == "scaled" else 1
        rows[6], bias[6] = factor * rows[2], factor * bias[2]
    if change == "cancelling":
        columns[:, 6] = -columns[:, 2]
    if change == "dead":
        columns[:, 3] = 0
    if change == "constant":
        rows[5], bias[5] = 0, 2
    first = [net.constant(value.astype(np.float32)) for value in (rows, bias)]
    second = net.constant(columns.astype(np.float32))
    hidden = net.op(function, net.op("Gemm", "input", *first, transB=1))
    model = net.model(net.op("Gemm", hidden, second, net.weight(CLASSES), transB=1))
    form = normal_form(model, where="it", merged=True)
    assert difference(model, form.model, net.inputs()) < CLOSE
    assert widths(form.model) == [left, CLASSES]
    # Only where that is asked for.
    assert widths(normal_form(model, where="it").model) == [8, CLASSES]


def test_a_constant_unit_that_a_padded_kernel_reads_stays() -> None:
    net = image()
    weight = net.random.normal(size=(4, 2, 3, 3)).astype(np.float32)
    weight[1] = 0
    first = net.op("Conv", "input", net.constant(weight), net.constant(np.ones(4, np.float32)))
    model = pooled(net, net.conv(net.op("Relu", first), 4, 3), 3)
    form = normal_form(model, where="it", merged=True)
    assert difference(model, form.model, net.inputs()) < CLOSE
    assert widths(form.model) == [4, 3, CLASSES]


def test_small_weights_beside_large_biases_are_not_equal() -> None:
    """As in a file whose inputs are large."""
    net = Network(1, (5,))
    rows = (1e-6 * net.random.normal(size=(8, 5))).astype(np.float32)
    hidden = net.op(
        "Tanh",
        net.op("Gemm", "input", net.constant(rows), net.constant(np.ones(8, np.float32)), transB=1),
    )
    model = net.model(net.dense(hidden, 8, CLASSES))
    assert widths(normal_form(model, where="it", merged=True).model) == [8, CLASSES]


def test_a_shape_that_only_the_caller_knows() -> None:
    """MatMul of a matrix and of tokens are written alike."""
    net = Network(1, (5,))
    hidden = net.dense(net.dense("input", 5, 4, "matmul"), 4, CLASSES, "matmul")
    model = net.model(hidden)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    kinds = [node.op_type for node in normal_form(model, where="it").model.graph.node]
    assert kinds.count("MatMul") == 2
    known = normal_form(model, where="it", row=(5,)).model
    assert [node.op_type for node in known.graph.node] == ["Gemm", "Identity"]


def test_half_precision_stays_half() -> None:
    net = Network(1, (5,))
    first, second = (net.random.normal(size=shape).astype(np.float16) for shape in ((5, 4), (4, 3)))
    between = net.op("MatMul", "input", net.constant(first))
    model = net.model(net.op("MatMul", between, net.constant(second)))
    form = normal_form(model, where="it").model
    (weight,) = [tensor for tensor in form.graph.initializer if len(tensor.dims) == 2]
    assert weight.data_type == TensorProto.FLOAT16


def test_too_many_values_are_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.INT8, dims=[1 << 15, 1 << 14])
    node = helper.make_node("MatMul", ["input", "w"], ["output"])
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1 << 15])
    result = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([node], "graph", [given], [result], [tensor]))
    with pytest.raises(CouldNotCheckError, match="more than"):
        normal_form(model, where="it")


@pytest.mark.parametrize("way", ["max", "clip", "leaky", "prelu"])
def test_a_rectifier_has_one_name(way: str) -> None:
    net = Network(1, (5,))
    values = net.dense("input", 5, 4)
    nothing = net.constant(np.array(0, np.float32))
    made = {
        "max": lambda: net.op("Max", nothing, values),
        "clip": lambda: net.op("Clip", values, nothing),
        "leaky": lambda: net.op("LeakyRelu", values, alpha=0.0),
        "prelu": lambda: net.op("PRelu", values, net.constant(np.zeros(4, np.float32))),
    }[way]()
    model = net.model(net.dense(made, 4, CLASSES))
    assert rewritten(net, model) == ["Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_of_one_place_is_a_matrix(kernel: int) -> None:
    net = Network(1, (5,))
    place = net.op("Reshape", net.dense("input", 5, 4), net.integers(-1, 4, 1, 1))
    flat = net.op("Flatten", net.conv(place, 4, 6, kernel=kernel))
    model = net.model(net.dense(net.op("Relu", flat), 6, CLASSES))
    assert rewritten(net, model) == ["Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("equation", ["ni,io->no", "io,ni->no", "nt, ot -> no"])
def test_a_product_by_indices_is_a_matrix(equation: str) -> None:
    net = Network(1, (5,))
    weight = net.weight(6, 5) if "ot" in equation else net.weight(5, 6)
    given = ["input", weight] if equation.startswith("n") else [weight, "input"]
    product = net.op("Einsum", *given, equation=equation)
    assert rewritten(net, net.model(net.dense(product, 6, CLASSES))) == ["Gemm"]


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_another_precision_inside_is_made_single(kind: int) -> None:
    net = Network(1, (5,))
    wide = net.op("Cast", net.dense("input", 5, 4), to=kind)
    weight = net.random.normal(size=(4, 6)).astype(helper.tensor_dtype_to_np_dtype(kind))
    narrow = net.op("Cast", net.op("MatMul", wide, net.constant(weight)), to=TensorProto.FLOAT)
    model = net.model(net.dense(net.op("Relu", narrow), 6, CLASSES))
    form = normal_form(model, where="it").model
    # Half precision rounds at the third digit.
    assert difference(model, form, net.inputs()) < (CLOSE if kind == TensorProto.DOUBLE else 1e-2)
    assert [node.op_type for node in form.graph.node] == ["Gemm", "Relu", "Gemm", "Identity"]


def test_a_convolution_that_reads_only_the_zeros_around_a_place_is_left() -> None:
    net = Network(1, (5,))
    place = net.op("Reshape", net.dense("input", 5, 4), net.integers(-1, 4, 1, 1))
    weight = net.weight(6, 4, 2, 2)
    blind = net.op(
        "Conv", place, weight, net.weight(6), dilations=[2, 2], pads=[1, 1, 1, 1], strides=[1, 1]
    )
    model = net.model(net.dense(net.op("Relu", net.op("Flatten", blind)), 6, CLASSES))
    assert "Conv" in rewritten(net, model)


def test_units_that_differ_by_their_offset_are_two() -> None:
    net = Network(1, (5,))
    rows = np.tile(net.random.normal(size=(1, 5)), (4, 1)).astype(np.float32)
    offsets = net.constant(np.array([0, 0.5, 1, 1], np.float32))
    hidden = net.op("Relu", net.op("Gemm", "input", net.constant(rows), offsets, transB=1))
    model = net.model(net.dense(hidden, 4, CLASSES))
    form = normal_form(model, where="it", merged=True)
    assert difference(model, form.model, net.inputs()) < CLOSE
    assert widths(form.model) == [3, CLASSES]


@pytest.mark.parametrize("how", ["auto_pad", "ceil_mode"])
def test_a_constant_unit_that_is_averaged_with_zeros_stays(how: str) -> None:
    net = image()
    weight = net.random.normal(size=(4, 2, 3, 3)).astype(np.float32)
    weight[1] = 0
    first = net.op("Conv", "input", net.constant(weight), net.constant(np.ones(4, np.float32)))
    attributes = {"auto_pad": "SAME_UPPER"} if how == "auto_pad" else {"ceil_mode": 1}
    average = net.op(
        "AveragePool",
        net.op("Relu", first),
        kernel_shape=[3, 3],
        strides=[2, 2],
        count_include_pad=1,
        **attributes,
    )
    model = pooled(net, net.op("Conv", average, net.weight(3, 4, 1, 1), net.weight(3)), 3)
    form = normal_form(model, where="it", merged=True)
    assert difference(model, form.model, net.inputs()) < CLOSE
    assert widths(form.model)[0] == 4


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("LeakyRelu", {"alpha": "much"}),
        ("Flatten", {"axis": "last"}),
        ("AveragePool", {"kernel_shape": [2, 2], "pads": 1}),
        ("Einsum", {"equation": [1, 2]}),
        ("Dropout", {}),
        ("Max", {}),
    ],
)
def test_a_node_of_a_form_that_no_file_has_is_no_error_of_ours(
    kind: str, more: dict[str, object]
) -> None:
    net = image() if kind == "AveragePool" else Network(1, (5,))
    hidden = net.conv("input", 2, 4) if kind == "AveragePool" else net.dense("input", 5, 4)
    given = [] if kind in {"Dropout", "Max"} else [hidden]
    odd = net.op(kind, *given, **more)
    model = net.model(net.dense(odd, 4, CLASSES))
    for merged in (False, True):
        with suppress(CouldNotCheckError):
            normal_form(model, where="it", merged=merged)


def test_many_units_that_are_nearly_the_same_cost_little_time() -> None:
    """Of one feature all rows have one direction; only offsets tell them apart."""
    net, units = Network(1, (1,)), 1 << 16
    rows = net.constant(np.ones((units, 1), np.float32))
    offsets = net.constant(np.linspace(1, 2, units, dtype=np.float32))
    hidden = net.op("Relu", net.op("Gemm", "input", rows, offsets, transB=1))
    model = net.model(net.op("Gemm", hidden, net.weight(CLASSES, units), transB=1))
    start = time.process_time()
    normal_form(model, where="it", merged=True)
    # Pair after pair it took ten minutes.
    assert time.process_time() - start < 60
