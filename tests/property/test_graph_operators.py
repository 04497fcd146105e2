"""Every operator of the trainable interpreter against onnxruntime, the oracle."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.operators import OPERATORS

Draw = st.DrawFn
Array = NDArray[Any]


@dataclass
class Case:
    """One node: its inputs (the first is the graph's input), attributes and opset."""

    inputs: list[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 20
    outputs: int = 1
    tolerance: float = 1e-5


CASES: dict[tuple[str, str], Callable[[Draw], Case]] = {}


def case(*names: str, domain: str = "") -> Callable[..., Callable[[Draw], Case]]:
    def register(function: Callable[[Draw], Case]) -> Callable[[Draw], Case]:
        CASES.update({(domain, name): function for name in names})
        return function

    return register


def floats(draw: Draw, *shape: int, low: float = -3.0, high: float = 3.0) -> Array:
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    return generator.uniform(low, high, shape).astype(np.float32)


def shape(draw: Draw, *, least: int = 1, most: int = 4) -> list[int]:
    return draw(st.lists(st.integers(1, 4), min_size=least, max_size=most))


def pair(draw: Draw, low: float = -3.0) -> list[Array | None]:
    """Two tensors that broadcast."""
    extents = shape(draw)
    other = [draw(st.sampled_from([1, extent])) for extent in extents]
    other = other[draw(st.integers(0, len(other) - 1)) :]
    return [floats(draw, *extents, low=low), floats(draw, *other, low=low)]


@case("Abs", "Erf", "Exp", "Identity", "Neg", "Relu", "Sigmoid", "Softplus", "Tanh", "HardSwish")
def _unary(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))])


@case("Round")
def _round(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw)).round(1) * 5])


@case("Log", "Sqrt", "Reciprocal")
def _positive(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw), low=0.1)])


@case("Add", "Mul", "Sub", "Greater", "Less")
def _binary(draw: Draw) -> Case:
    return Case(pair(draw))


@case("Div")
def _div(draw: Draw) -> Case:
    if draw(st.booleans()):
        return Case(pair(draw, low=0.5))
    whole = np.array([-7, 7, 5], np.int64)
    return Case([whole, np.array([draw(st.sampled_from([-3, -2, 2, 3]))], np.int64)])


@case("Pow")
def _pow(draw: Draw) -> Case:
    return Case(pair(draw, low=0.5), tolerance=1e-4)


@case("Min", "Max", "Sum")
def _variadic(draw: Draw) -> Case:
    return Case([*pair(draw), floats(draw, 1)])


@case("And", "Or")
def _logical(draw: Draw) -> Case:
    return Case([value > 0 for value in pair(draw) if value is not None])


@case("Not")
def _not(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw)) > 0])


@case("Equal")
def _equal(draw: Draw) -> Case:
    return Case([value.round() for value in pair(draw) if value is not None])


@case("Where")
def _where(draw: Draw) -> Case:
    first, second = pair(draw)
    assert first is not None
    return Case([floats(draw, *first.shape) > 0, first, second])


@case("LeakyRelu")
def _leaky(draw: Draw) -> Case:
    attributes = draw(st.sampled_from([{}, {"alpha": 0.2}]))
    return Case([floats(draw, *shape(draw))], attributes)


@case("Elu")
def _elu(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))], draw(st.sampled_from([{}, {"alpha": 0.5}])))


@case("HardSigmoid")
def _hard_sigmoid(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))], draw(st.sampled_from([{}, {"alpha": 0.4}])))


@case("PRelu")
def _prelu(draw: Draw) -> Case:
    channels = draw(st.integers(1, 3))
    return Case([floats(draw, 2, channels, 3, 3), floats(draw, channels, 1, 1)])


@case("Gelu")
def _gelu(draw: Draw) -> Case:
    kind = draw(st.sampled_from(["none", "tanh"]))
    return Case([floats(draw, *shape(draw))], {"approximate": kind})


@case("Gelu", domain="com.microsoft")
def _contributed_gelu(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))])


@case("Clip")
def _clip(draw: Draw) -> Case:
    values = floats(draw, *shape(draw))
    if draw(st.booleans()):
        return Case([values], draw(st.sampled_from([{}, {"min": -1.0, "max": 2.0}])), opset=10)
    low = draw(st.sampled_from([None, np.array(-1, np.float32)]))
    high = draw(st.sampled_from([None, np.array(1.5, np.float32)]))
    return Case([values, low, high])


@case("Softmax", "LogSoftmax")
def _softmax(draw: Draw) -> Case:
    extents = shape(draw, least=2)
    opset = draw(st.sampled_from([11, 20]))
    axis = draw(st.integers(0 if opset == 11 else -len(extents), len(extents) - 1))
    return Case([floats(draw, *extents)], draw(st.sampled_from([{}, {"axis": axis}])), opset)


@case("Cast")
def _cast(draw: Draw) -> Case:
    kinds = [TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL]
    kinds += [TensorProto.DOUBLE, TensorProto.FLOAT16]
    return Case([floats(draw, *shape(draw))], {"to": draw(st.sampled_from(kinds))})


@case("MatMul")
def _matmul(draw: Draw) -> Case:
    rows, inner, columns = (draw(st.integers(1, 5)) for _ in range(3))
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    return Case([floats(draw, *batch, rows, inner), floats(draw, inner, columns)])


@case("FusedMatMul", domain="com.microsoft")
def _fused_matmul(draw: Draw) -> Case:
    left, right = draw(st.booleans()), draw(st.booleans())
    a = floats(draw, *((4, 3) if left else (3, 4)))
    b = floats(draw, *((2, 4) if right else (4, 2)))
    return Case([a, b], {"transA": int(left), "transB": int(right), "alpha": 0.5})


def _gemm_parts(draw: Draw) -> tuple[list[Array | None], dict[str, Any]]:
    left, right = draw(st.booleans()), draw(st.booleans())
    rows, inner, columns = (draw(st.integers(1, 5)) for _ in range(3))
    a = floats(draw, *((inner, rows) if left else (rows, inner)))
    b = floats(draw, *((columns, inner) if right else (inner, columns)))
    added = draw(st.sampled_from([None, (columns,), (rows, 1), (rows, columns)]))
    attributes = {"transA": int(left), "transB": int(right)}
    attributes |= draw(st.sampled_from([{}, {"alpha": 0.5, "beta": 2.0}]))
    return [a, b, None if added is None else floats(draw, *added)], attributes


@case("Gemm")
def _gemm(draw: Draw) -> Case:
    return Case(*_gemm_parts(draw))


@case("FusedGemm", domain="com.microsoft")
def _fused_gemm(draw: Draw) -> Case:
    inputs, attributes = _gemm_parts(draw)
    kind = draw(st.sampled_from([{"activation": "Relu"}, {"activation": "Tanh"}]))
    return Case(inputs, attributes | kind)


def _conv_parts(draw: Draw) -> tuple[Array, Array, dict[str, Any]]:
    spatial = draw(st.integers(1, 2))
    group = draw(st.integers(1, 2))
    channels, outputs = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(spatial)]
    extents = [draw(st.integers(5, 8)) for _ in range(spatial)]
    attributes: dict[str, Any] = {"group": group, "kernel_shape": kernel}
    attributes["strides"] = [draw(st.integers(1, 2)) for _ in range(spatial)]
    mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * spatial)]
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in range(spatial)]
    else:
        attributes["auto_pad"] = mode
    values = floats(draw, 2, channels, *extents)
    return values, floats(draw, outputs, channels // group, *kernel), attributes


@case("Conv")
def _conv(draw: Draw) -> Case:
    values, weight, attributes = _conv_parts(draw)
    bias = floats(draw, len(weight)) if draw(st.booleans()) else None
    return Case([values, weight, bias], attributes)


@case("FusedConv", domain="com.microsoft")
def _fused_conv(draw: Draw) -> Case:
    attributes: dict[str, Any] = {"activation": "Relu", "pads": [1, 1, 1, 1]}
    if draw(st.booleans()):
        attributes |= {"activation": "LeakyRelu", "activation_params": [0.3]}
    added = floats(draw, 2, 4, 5, 5) if draw(st.booleans()) else None
    weight = floats(draw, 4, 2, 3, 3)
    return Case([floats(draw, 2, 2, 5, 5), weight, floats(draw, 4), added], attributes)


@case("BatchNormalization")
def _batch_normalization(draw: Draw) -> Case:
    extents = draw(st.sampled_from([[], [3], [3, 4]]))
    parts = [floats(draw, 3) for _ in range(3)]
    variance = floats(draw, 3, low=0.1)
    attributes = draw(st.sampled_from([{}, {"epsilon": 1e-3}]))
    return Case([floats(draw, 2, 3, *extents), *parts, variance], attributes)


@case("LayerNormalization")
def _layer_normalization(draw: Draw) -> Case:
    axis = draw(st.sampled_from([-1, 1, 2]))
    extents = [3, 4] if axis == 1 else [4]
    shift = floats(draw, *extents) if draw(st.booleans()) else None
    return Case([floats(draw, 2, 3, 4), floats(draw, *extents), shift], {"axis": axis})


@case("Dropout")
def _dropout(draw: Draw) -> Case:
    ratio = draw(st.sampled_from([None, np.array(0.3, np.float32)]))
    return Case([floats(draw, *shape(draw)), ratio])


def _pool(draw: Draw, *, dilated: bool) -> Case:
    spatial = draw(st.integers(1, 2))
    kernel = [draw(st.integers(2, 3)) for _ in range(spatial)]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    attributes["strides"] = [draw(st.integers(1, 3)) for _ in range(spatial)]
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    if mode == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, 1)) for _ in range(2 * spatial)]
        attributes["ceil_mode"] = draw(st.integers(0, 1))
        if dilated:
            attributes["dilations"] = [draw(st.integers(1, 2)) for _ in range(spatial)]
    else:
        attributes["auto_pad"] = mode
    extents = [draw(st.integers(5, 9)) for _ in range(spatial)]
    return Case([floats(draw, 2, 2, *extents)], attributes)


@case("MaxPool")
def _max_pool(draw: Draw) -> Case:
    return _pool(draw, dilated=True)


@case("AveragePool")
def _average_pool(draw: Draw) -> Case:
    drawn = _pool(draw, dilated=False)
    drawn.attributes["count_include_pad"] = draw(st.integers(0, 1))
    return drawn


@case("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(draw: Draw) -> Case:
    return Case([floats(draw, 2, 3, *shape(draw, most=2))])


@case("ReduceMean", "ReduceMax")
def _reduce(draw: Draw) -> Case:
    return _reduction(draw, first_with_input=18)


@case("ReduceSum")
def _reduce_sum(draw: Draw) -> Case:
    return _reduction(draw, first_with_input=13)


def _reduction(draw: Draw, *, first_with_input: int) -> Case:
    extents = shape(draw)
    axes = draw(st.lists(st.integers(-len(extents), len(extents) - 1), max_size=1))
    attributes: dict[str, Any] = {"keepdims": draw(st.integers(0, 1))}
    values = floats(draw, *extents)
    if draw(st.booleans()):
        attributes |= {"axes": axes} if axes else {}
        return Case([values], attributes, opset=first_with_input - 2)
    attributes["noop_with_empty_axes"] = draw(st.integers(0, 1))
    return Case([values, np.array(axes, np.int64) if axes else None], attributes)


@case("Shape")
def _shape(draw: Draw) -> Case:
    attributes = draw(st.sampled_from([{}, {"start": 1}, {"start": 0, "end": 2}, {"end": -1}]))
    return Case([floats(draw, *shape(draw, least=2))], attributes)


@case("Size")
def _size(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))])


@case("Reshape")
def _reshape(draw: Draw) -> Case:
    target = draw(st.sampled_from([[2, -1], [0, -1], [-1], [0, 0, 2, 2], [3, 2, 4], [1, 24]]))
    return Case([floats(draw, 2, 3, 4), np.array(target, np.int64)])


@case("Flatten")
def _flatten(draw: Draw) -> Case:
    extents = shape(draw)
    return Case([floats(draw, *extents)], {"axis": draw(st.integers(0, len(extents)))})


@case("Transpose")
def _transpose(draw: Draw) -> Case:
    extents = shape(draw)
    order = draw(st.permutations(range(len(extents))))
    return Case([floats(draw, *extents)], draw(st.sampled_from([{}, {"perm": order}])))


@case("Squeeze")
def _squeeze(draw: Draw) -> Case:
    values = floats(draw, 2, 1, 3, 1)
    axes = draw(st.sampled_from([None, [1], [3], [1, -1]]))
    if draw(st.booleans()):
        return Case([values], {} if axes is None else {"axes": axes}, opset=11)
    return Case([values, None if axes is None else np.array(axes, np.int64)])


@case("Unsqueeze")
def _unsqueeze(draw: Draw) -> Case:
    axes = draw(st.sampled_from([[0], [-1], [1, 3], [0, -1]]))
    values = floats(draw, 2, 3)
    if draw(st.booleans()):
        return Case([values], {"axes": axes}, opset=11)
    return Case([values, np.array(axes, np.int64)])


@case("Concat")
def _concat(draw: Draw) -> Case:
    axis = draw(st.integers(-2, 1))
    parts = [[draw(st.integers(1, 3)) if i == axis % 2 else 3 for i in range(2)] for _ in range(3)]
    return Case([floats(draw, *extents) for extents in parts], {"axis": axis})


@case("Gather")
def _gather(draw: Draw) -> Case:
    axis = draw(st.integers(-2, 1))
    indices = draw(st.sampled_from([0, -1, [0, 1], [[1, -2], [0, 0]]]))
    return Case([floats(draw, 2, 3), np.array(indices, np.int64)], {"axis": axis})


@case("Slice")
def _slice(draw: Draw) -> Case:
    bound = st.sampled_from([-(2**63), -7, -2, 0, 1, 3, 5, 2**63 - 1])
    start, end = draw(bound), draw(bound)
    values = floats(draw, 5, 6)
    if draw(st.booleans()):
        return Case([values], {"starts": [start], "ends": [end], "axes": [1]}, opset=9)
    # onnxruntime reads the largest integer as "to the end" backwards too, against the standard.
    step = draw(st.sampled_from([1, 2] if end == 2**63 - 1 else [-2, -1, 1, 2]))
    parts = [np.array([part], np.int64) for part in (start, end, draw(st.integers(-2, 1)), step)]
    return Case([values, *parts])


@case("Split")
def _split(draw: Draw) -> Case:
    values = floats(draw, 5, 3)
    if draw(st.booleans()):
        return Case([values], {"num_outputs": 2}, outputs=2)
    return Case([values, np.array([1, 4], np.int64)], {"axis": 0}, outputs=2)


@case("Pad")
def _pad(draw: Draw) -> Case:
    mode = draw(st.sampled_from(["constant", "edge", "reflect"]))
    pads = [draw(st.integers(0, 2)) for _ in range(8)]
    if mode != "constant":
        pads[0] = pads[1] = pads[4] = pads[5] = 0
    values = floats(draw, 2, 2, 4, 4)
    if mode == "constant" and draw(st.booleans()):
        return Case([values], {"pads": pads, "value": 0.5}, opset=10)
    fill = draw(st.sampled_from([None, np.array(1.5, np.float32)]))
    if draw(st.booleans()):
        amounts, axes = np.array(pads[2:4] + pads[6:8], np.int64), np.array([2, -1], np.int64)
        return Case([values, amounts, fill, axes], {"mode": mode})
    return Case([values, np.array(pads, np.int64), fill], {"mode": mode})


@case("ConstantOfShape")
def _constant_of_shape(draw: Draw) -> Case:
    value = draw(st.sampled_from([None, np.array([2.5], np.float32), np.array([3], np.int64)]))
    attributes = {} if value is None else {"value": numpy_helper.from_array(value)}
    return Case([np.array(shape(draw), np.int64)], attributes)


@case("Expand")
def _expand(draw: Draw) -> Case:
    target = draw(st.sampled_from([[3, 2, 4], [2, 1], [1], [2, 3, 1, 4], [2, 4]]))
    return Case([floats(draw, 2, 1), np.array(target, np.int64)])


@case("Range")
def _range(draw: Draw) -> Case:
    ends = [draw(st.integers(-5, 5)) for _ in range(2)]
    step = draw(st.sampled_from([-2, -1, 1, 2])) if ends[0] != ends[1] else 1
    step = abs(step) if ends[1] >= ends[0] else -abs(step)
    return Case([np.array(value, np.int64) for value in (*ends, step)])


@case("DynamicQuantizeLinear")
def _dynamic_quantize(draw: Draw) -> Case:
    low, high = draw(st.sampled_from([(-3.0, 3.0), (0.5, 2.0), (-2.0, -1.0)]))
    return Case([floats(draw, *shape(draw), low=low, high=high)], outputs=3)


@case("QuantizeLinear")
def _quantize_linear(draw: Draw) -> Case:
    values = floats(draw, 2, 3, 4)
    kind = draw(st.sampled_from([np.uint8, np.int8]))
    if draw(st.booleans()):
        zero = draw(st.sampled_from([None, np.array(7, kind)]))
        return Case([values, np.array(0.02, np.float32), zero])
    scale = floats(draw, 3, low=0.01, high=0.05)
    return Case([values, scale, np.array([0, 5, 100], kind)], {"axis": 1})


@case("DequantizeLinear")
def _dequantize_linear(draw: Draw) -> Case:
    kind = draw(st.sampled_from([np.uint8, np.int8]))
    values = (floats(draw, 2, 3, 4) * 30).astype(np.int8).view(kind)
    if draw(st.booleans()):
        zero = draw(st.sampled_from([None, np.array(7, kind)]))
        return Case([values, np.array(0.02, np.float32), zero])
    scale = floats(draw, 3, low=0.01, high=0.05)
    return Case(
        [values, scale, np.array([0, 5, 100], kind)], {"axis": draw(st.sampled_from([1, -2]))}
    )


def octets(draw: Draw, *extents: int) -> Array:
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    return generator.integers(0, 256, extents).astype(np.uint8)


@case("MatMulInteger")
def _matmul_integer(draw: Draw) -> Case:
    right = octets(draw, 4, 3)
    zeros = draw(
        st.sampled_from(
            [
                [],
                [np.array(3, np.uint8)],
                [np.array(3, np.uint8), np.array(128, np.uint8)],
                [np.array(3, np.uint8), np.array([1, 128, 7], np.uint8)],
            ]
        )
    )
    return Case([octets(draw, 2, 4), right, *zeros])


@case("ConvInteger")
def _conv_integer(draw: Draw) -> Case:
    zeros = draw(
        st.sampled_from(
            [[], [np.array(3, np.uint8)], [np.array(3, np.uint8), np.array(128, np.uint8)]]
        )
    )
    attributes = draw(st.sampled_from([{}, {"pads": [1, 1, 1, 1], "strides": [2, 1]}]))
    return Case([octets(draw, 2, 2, 5, 5), octets(draw, 3, 2, 3, 3), *zeros], attributes)


def test_every_operator_has_a_case() -> None:
    assert set(CASES) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(CASES), ids=lambda name: "-".join(filter(None, name)))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_operator_gives_what_onnxruntime_gives(name: tuple[str, str], data: st.DataObject) -> None:
    drawn = data.draw(st.composite(CASES[name])())
    expected, got = _both(name, drawn)
    for theirs, ours in zip(expected, got, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(
            ours.astype(np.float64),
            theirs.astype(np.float64),
            rtol=drawn.tolerance,
            atol=drawn.tolerance,
        )


def _both(name: tuple[str, str], drawn: Case) -> tuple[list[Array], list[Array]]:
    domain, operator = name
    names = [f"i{index}" if value is not None else "" for index, value in enumerate(drawn.inputs)]
    while not names[-1]:
        names.pop()
    outputs = [f"o{index}" for index in range(drawn.outputs)]
    node = helper.make_node(operator, names, outputs, domain=domain, **drawn.attributes)
    first = drawn.inputs[0]
    assert first is not None
    kind = helper.np_dtype_to_tensor_dtype(first.dtype)
    constants = [
        numpy_helper.from_array(value, f"i{index}")
        for index, value in enumerate(drawn.inputs)
        if index and value is not None
    ]
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("i0", kind, None)],
        [ValueInfoProto(name=output) for output in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", drawn.opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    expected = session.run(outputs, {"i0": first})
    tensors = OnnxTappedModel.from_proto(model).eval().tensors(torch.from_numpy(first.copy()))
    got = [tensors[output] for output in outputs]
    return expected, [value.detach().numpy() for value in got if value is not None]
