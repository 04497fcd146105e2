"""Nodes that are layers: products, convolutions, normalizations, pooling, reductions."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.support.operator_cases.case import Array, Case, Cases, Draw, floats, shape

CASES = Cases()


@CASES.add("MatMul")
def _matmul(draw: Draw) -> Case:
    rows, inner, columns = (draw(st.integers(1, 5)) for _ in range(3))
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    return Case([floats(draw, *batch, rows, inner), floats(draw, inner, columns)])


@CASES.add("FusedMatMul", domain="com.microsoft")
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


@CASES.add("Gemm")
def _gemm(draw: Draw) -> Case:
    return Case(*_gemm_parts(draw))


@CASES.add("FusedGemm", domain="com.microsoft")
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


@CASES.add("Conv")
def _conv(draw: Draw) -> Case:
    values, weight, attributes = _conv_parts(draw)
    bias = floats(draw, len(weight)) if draw(st.booleans()) else None
    return Case([values, weight, bias], attributes)


@CASES.add("FusedConv", domain="com.microsoft")
def _fused_conv(draw: Draw) -> Case:
    attributes: dict[str, Any] = {"activation": "Relu", "pads": [1, 1, 1, 1]}
    if draw(st.booleans()):
        attributes |= {"activation": "LeakyRelu", "activation_params": [0.3]}
    added = floats(draw, 2, 4, 5, 5) if draw(st.booleans()) else None
    weight = floats(draw, 4, 2, 3, 3)
    return Case([floats(draw, 2, 2, 5, 5), weight, floats(draw, 4), added], attributes)


@CASES.add("BatchNormalization")
def _batch_normalization(draw: Draw) -> Case:
    extents = draw(st.sampled_from([[], [3], [3, 4]]))
    parts = [floats(draw, 3) for _ in range(3)]
    variance = floats(draw, 3, low=0.1)
    attributes = draw(st.sampled_from([{}, {"epsilon": 1e-3}]))
    return Case([floats(draw, 2, 3, *extents), *parts, variance], attributes)


@CASES.add("LayerNormalization")
def _layer_normalization(draw: Draw) -> Case:
    axis = draw(st.sampled_from([-1, 1, 2]))
    extents = [3, 4] if axis == 1 else [4]
    shift = floats(draw, *extents) if draw(st.booleans()) else None
    return Case([floats(draw, 2, 3, 4), floats(draw, *extents), shift], {"axis": axis})


@CASES.add("InstanceNormalization")
def _instance_normalization(draw: Draw) -> Case:
    extents = draw(st.sampled_from([[4], [3, 4]]))
    attributes = draw(st.sampled_from([{}, {"epsilon": 1e-3}]))
    parts = [floats(draw, 3), floats(draw, 3)]
    return Case([floats(draw, 2, 3, *extents), *parts], attributes, tolerance=1e-4)


@CASES.add("Dropout")
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


@CASES.add("MaxPool")
def _max_pool(draw: Draw) -> Case:
    return _pool(draw, dilated=True)


@CASES.add("AveragePool")
def _average_pool(draw: Draw) -> Case:
    drawn = _pool(draw, dilated=False)
    drawn.attributes["count_include_pad"] = draw(st.integers(0, 1))
    return drawn


@CASES.add("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(draw: Draw) -> Case:
    return Case([floats(draw, 2, 3, *shape(draw, most=2))])


@CASES.add("ReduceMean", "ReduceMax")
def _reduce(draw: Draw) -> Case:
    return _reduction(draw, first_with_input=18)


@CASES.add("ReduceSum")
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
