"""Nodes that compute element by element: arithmetic, comparisons, activation functions."""

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto

from tests.support.operator_cases.case import Case, Cases, Draw, floats, pair, shape

CASES = Cases()


@CASES.add(
    "Abs", "Erf", "Exp", "Identity", "Neg", "Relu", "Sigmoid", "Softplus", "Tanh", "HardSwish"
)
def _unary(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))])


@CASES.add("Round")
def _round(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw)).round(1) * 5])


@CASES.add("Log", "Sqrt", "Reciprocal")
def _positive(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw), low=0.1)])


@CASES.add("Add", "Mul", "Sub", "Greater", "Less")
def _binary(draw: Draw) -> Case:
    return Case(pair(draw))


@CASES.add("Div")
def _div(draw: Draw) -> Case:
    if draw(st.booleans()):
        return Case(pair(draw, low=0.5))
    whole = np.array([-7, 7, 5], np.int64)
    return Case([whole, np.array([draw(st.sampled_from([-3, -2, 2, 3]))], np.int64)])


@CASES.add("Pow")
def _pow(draw: Draw) -> Case:
    return Case(pair(draw, low=0.5), tolerance=1e-4)


@CASES.add("Min", "Max", "Sum")
def _variadic(draw: Draw) -> Case:
    return Case([*pair(draw), floats(draw, 1)])


@CASES.add("And", "Or")
def _logical(draw: Draw) -> Case:
    return Case([value > 0 for value in pair(draw) if value is not None])


@CASES.add("Not")
def _not(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw)) > 0])


@CASES.add("Equal")
def _equal(draw: Draw) -> Case:
    return Case([value.round() for value in pair(draw) if value is not None])


@CASES.add("Where")
def _where(draw: Draw) -> Case:
    first, second = pair(draw)
    assert first is not None
    return Case([floats(draw, *first.shape) > 0, first, second])


@CASES.add("LeakyRelu")
def _leaky(draw: Draw) -> Case:
    attributes = draw(st.sampled_from([{}, {"alpha": 0.2}]))
    return Case([floats(draw, *shape(draw))], attributes)


@CASES.add("Elu")
def _elu(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))], draw(st.sampled_from([{}, {"alpha": 0.5}])))


@CASES.add("HardSigmoid")
def _hard_sigmoid(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))], draw(st.sampled_from([{}, {"alpha": 0.4}])))


@CASES.add("PRelu")
def _prelu(draw: Draw) -> Case:
    channels = draw(st.integers(1, 3))
    return Case([floats(draw, 2, channels, 3, 3), floats(draw, channels, 1, 1)])


@CASES.add("Gelu")
def _gelu(draw: Draw) -> Case:
    kind = draw(st.sampled_from(["none", "tanh"]))
    return Case([floats(draw, *shape(draw))], {"approximate": kind})


@CASES.add("Gelu", domain="com.microsoft")
def _contributed_gelu(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))])


@CASES.add("Clip")
def _clip(draw: Draw) -> Case:
    values = floats(draw, *shape(draw))
    if draw(st.booleans()):
        return Case([values], draw(st.sampled_from([{}, {"min": -1.0, "max": 2.0}])), opset=10)
    low = draw(st.sampled_from([None, np.array(-1, np.float32)]))
    high = draw(st.sampled_from([None, np.array(1.5, np.float32)]))
    return Case([values, low, high])


@CASES.add("Softmax", "LogSoftmax")
def _softmax(draw: Draw) -> Case:
    extents = shape(draw, least=2)
    opset = draw(st.sampled_from([11, 20]))
    axis = draw(st.integers(0 if opset == 11 else -len(extents), len(extents) - 1))
    return Case([floats(draw, *extents)], draw(st.sampled_from([{}, {"axis": axis}])), opset)


@CASES.add("Cast")
def _cast(draw: Draw) -> Case:
    kinds = [TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL]
    kinds += [TensorProto.DOUBLE, TensorProto.FLOAT16]
    return Case([floats(draw, *shape(draw))], {"to": draw(st.sampled_from(kinds))})
