"""Nodes that rearrange tensors: shapes, slices, joins, padding, and constants made on the way."""

import numpy as np
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.support.operator_cases.case import Case, Cases, Draw, floats, shape

CASES = Cases()


@CASES.add("Shape")
def _shape(draw: Draw) -> Case:
    attributes = draw(st.sampled_from([{}, {"start": 1}, {"start": 0, "end": 2}, {"end": -1}]))
    return Case([floats(draw, *shape(draw, least=2))], attributes)


@CASES.add("Size")
def _size(draw: Draw) -> Case:
    return Case([floats(draw, *shape(draw))])


@CASES.add("Reshape")
def _reshape(draw: Draw) -> Case:
    target = draw(st.sampled_from([[2, -1], [0, -1], [-1], [0, 0, 2, 2], [3, 2, 4], [1, 24]]))
    return Case([floats(draw, 2, 3, 4), np.array(target, np.int64)])


@CASES.add("Flatten")
def _flatten(draw: Draw) -> Case:
    extents = shape(draw)
    return Case([floats(draw, *extents)], {"axis": draw(st.integers(0, len(extents)))})


@CASES.add("Transpose")
def _transpose(draw: Draw) -> Case:
    extents = shape(draw)
    order = draw(st.permutations(range(len(extents))))
    return Case([floats(draw, *extents)], draw(st.sampled_from([{}, {"perm": order}])))


@CASES.add("Squeeze")
def _squeeze(draw: Draw) -> Case:
    values = floats(draw, 2, 1, 3, 1)
    axes = draw(st.sampled_from([None, [1], [3], [1, -1]]))
    if draw(st.booleans()):
        return Case([values], {} if axes is None else {"axes": axes}, opset=11)
    return Case([values, None if axes is None else np.array(axes, np.int64)])


@CASES.add("Unsqueeze")
def _unsqueeze(draw: Draw) -> Case:
    axes = draw(st.sampled_from([[0], [-1], [1, 3], [0, -1]]))
    values = floats(draw, 2, 3)
    if draw(st.booleans()):
        return Case([values], {"axes": axes}, opset=11)
    return Case([values, np.array(axes, np.int64)])


@CASES.add("Concat")
def _concat(draw: Draw) -> Case:
    axis = draw(st.integers(-2, 1))
    parts = [[draw(st.integers(1, 3)) if i == axis % 2 else 3 for i in range(2)] for _ in range(3)]
    return Case([floats(draw, *extents) for extents in parts], {"axis": axis})


@CASES.add("Gather")
def _gather(draw: Draw) -> Case:
    axis = draw(st.integers(-2, 1))
    indices = draw(st.sampled_from([0, -1, [0, 1], [[1, -2], [0, 0]]]))
    return Case([floats(draw, 2, 3), np.array(indices, np.int64)], {"axis": axis})


@CASES.add("Slice")
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


@CASES.add("Split")
def _split(draw: Draw) -> Case:
    values = floats(draw, 5, 3)
    if draw(st.booleans()):
        return Case([values], {"num_outputs": 2}, outputs=2)
    return Case([values, np.array([1, 4], np.int64)], {"axis": 0}, outputs=2)


@CASES.add("Pad")
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


@CASES.add("ConstantOfShape")
def _constant_of_shape(draw: Draw) -> Case:
    value = draw(st.sampled_from([None, np.array([2.5], np.float32), np.array([3], np.int64)]))
    attributes = {} if value is None else {"value": numpy_helper.from_array(value)}
    return Case([np.array(shape(draw), np.int64)], attributes)


@CASES.add("Expand")
def _expand(draw: Draw) -> Case:
    target = draw(st.sampled_from([[3, 2, 4], [2, 1], [1], [2, 3, 1, 4], [2, 4]]))
    return Case([floats(draw, 2, 1), np.array(target, np.int64)])


@CASES.add("Range")
def _range(draw: Draw) -> Case:
    ends = [draw(st.integers(-5, 5)) for _ in range(2)]
    step = draw(st.sampled_from([-2, -1, 1, 2])) if ends[0] != ends[1] else 1
    step = abs(step) if ends[1] >= ends[0] else -abs(step)
    return Case([np.array(value, np.int64) for value in (*ends, step)])
