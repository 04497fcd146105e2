"""Nodes of quantized models: to integers, from integers, products of integers."""

import numpy as np
from hypothesis import strategies as st

from tests.support.operator_cases.case import Array, Case, Cases, Draw, floats, shape

CASES = Cases()


@CASES.add("DynamicQuantizeLinear")
def _dynamic_quantize(draw: Draw) -> Case:
    low, high = draw(st.sampled_from([(-3.0, 3.0), (0.5, 2.0), (-2.0, -1.0)]))
    return Case([floats(draw, *shape(draw), low=low, high=high)], outputs=3)


@CASES.add("QuantizeLinear")
def _quantize_linear(draw: Draw) -> Case:
    values = floats(draw, 2, 3, 4)
    kind = draw(st.sampled_from([np.uint8, np.int8]))
    if draw(st.booleans()):
        zero = draw(st.sampled_from([None, np.array(7, kind)]))
        return Case([values, np.array(0.02, np.float32), zero])
    scale = floats(draw, 3, low=0.01, high=0.05)
    return Case([values, scale, np.array([0, 5, 100], kind)], {"axis": 1})


@CASES.add("DequantizeLinear")
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


@CASES.add("MatMulInteger")
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


@CASES.add("ConvInteger")
def _conv_integer(draw: Draw) -> Case:
    zeros = draw(
        st.sampled_from(
            [[], [np.array(3, np.uint8)], [np.array(3, np.uint8), np.array(128, np.uint8)]]
        )
    )
    attributes = draw(st.sampled_from([{}, {"pads": [1, 1, 1, 1], "strides": [2, 1]}]))
    return Case([octets(draw, 2, 2, 5, 5), octets(draw, 3, 2, 3, 3), *zeros], attributes)
