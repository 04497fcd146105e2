"""Layers: what computes channels, reads them, normalises them, pools beside them."""

from onnx import NodeProto

from deepsigns_registry.graph.channels.groups import Axis, Freedom, Role
from deepsigns_registry.graph.channels.walk import (
    WIDTH,
    Count,
    Normalisation,
    Rule,
    Walk,
    attribute,
)

__all__ = ["RULES"]


def _convolution(walk: Walk, node: NodeProto) -> list[Axis] | None:
    values, kernel, *bias = node.input
    if not walk.is_weight(kernel) or not all(walk.is_weight(name) for name in bias if name):
        return None
    batch, channels, *spatial = walk.axes(values)
    outputs, inputs = walk.shape(kernel)[:2]
    groups = attribute(node, "group", 1)
    walk.groups.fix(spatial)
    around = walk.opaque(walk.shape(node.output[0])[2:])
    if groups == 1:
        walk.join(kernel, 1, channels, Role.CONSUMES)
        result = walk.groups.fresh(outputs)
        walk.join(kernel, 0, result, Role.PRODUCES)
    elif groups == outputs == walk.groups.extent(channels) and inputs == 1:
        # Depthwise: one kernel a channel.
        result = channels
        walk.join(kernel, 0, result, Role.FOLLOWS)
        walk.counts.append(Count(node.output[0], WIDTH, result))
    else:
        return None
    for name in bias:
        if name:
            walk.join(name, 0, result, Role.PRODUCES)
    return [batch, result, *around]


def _gemm(walk: Walk, node: NodeProto) -> list[Axis] | None:
    values, matrix, *added = node.input
    if attribute(node, "transA", 0) or walk.is_weight(values) or not walk.is_weight(matrix):
        return None
    bias = added[0] if added else ""
    if bias and not walk.is_weight(bias):
        return None
    rows, columns = (0, 1) if attribute(node, "transB", 0) else (1, 0)
    batch, channels = walk.axes(values)
    walk.join(matrix, columns, channels, Role.CONSUMES)
    result = walk.groups.fresh(walk.shape(matrix)[rows])
    walk.join(matrix, rows, result, Role.PRODUCES)
    if bias:
        _add_bias(walk, bias, batch, result)
    return [batch, result]


def _add_bias(walk: Walk, bias: str, batch: Axis, result: Axis) -> None:
    for axis, extent in enumerate(walk.shape(bias)):
        last = axis == len(walk.shape(bias)) - 1
        if last and extent == walk.groups.extent(result):
            walk.join(bias, axis, result, Role.PRODUCES)
        elif extent > 1:
            walk.groups.fix([batch, result])
    if not walk.shape(bias) or walk.shape(bias)[-1] == 1:
        # The same number for every channel stays as it is when channels are scaled.
        walk.groups.forbid(result, Freedom.SCALE)


def _matmul(walk: Walk, node: NodeProto) -> list[Axis] | None:
    values, matrix = node.input
    if walk.is_weight(values) or not walk.is_weight(matrix) or len(walk.shape(matrix)) != 2:
        return None
    *others, channels = walk.axes(values)
    walk.join(matrix, 0, channels, Role.CONSUMES)
    result = walk.groups.fresh(walk.shape(matrix)[1])
    walk.join(matrix, 1, result, Role.PRODUCES)
    return [*others, result]


def _batch_normalization(walk: Walk, node: NodeProto) -> list[Axis] | None:
    values, gain, shift, mean, variance = node.input
    if not all(walk.is_weight(name) for name in (gain, shift, mean, variance)):
        return None
    axes = walk.axes(values)
    for name, role in (
        (gain, Role.FOLLOWS),
        (shift, Role.OFFSETS),
        (mean, Role.OFFSETS),
        (variance, Role.VARIES),
    ):
        walk.join(name, 0, axes[1], role)
    epsilon = attribute(node, "epsilon", 1e-5)
    walk.normalisations.append(Normalisation(gain, variance, epsilon, axes[1]))
    return list(axes)


def _layer_normalization(walk: Walk, node: NodeProto) -> list[Axis] | None:
    values, *weights = node.input
    axes = walk.axes(values)
    given = [name for name in weights if name]
    if attribute(node, "axis", -1) not in {-1, len(axes) - 1}:
        return None
    if any(not walk.is_weight(name) or len(walk.shape(name)) != 1 for name in given):
        return None
    for name in given:
        walk.join(name, 0, axes[-1], Role.FOLLOWS)
    for axis in axes:
        walk.groups.forbid(axis, Freedom.SCALE)
    # Mean and variance are taken over the channels.
    walk.groups.forbid(axes[-1], Freedom.DUPLICATE)
    return list(axes)


def _pooling(walk: Walk, node: NodeProto) -> list[Axis] | None:
    batch, channels, *spatial = walk.axes(node.input[0])
    walk.groups.fix(spatial)
    return [batch, channels, *walk.opaque(walk.shape(node.output[0])[2:])]


def _reduction(walk: Walk, node: NodeProto) -> list[Axis] | None:
    axes = walk.axes(node.input[0], Role.PRODUCES)
    over = walk.integers(node, 1, "axes")
    if not over:
        return None
    reduced = {axis % len(axes) for axis in over}
    walk.groups.fix(axes[axis] for axis in reduced)
    keep = bool(attribute(node, "keepdims", 1))
    result: list[Axis] = []
    for position, axis in enumerate(axes):
        if position not in reduced:
            result.append(axis)
        elif keep:
            result += walk.opaque([1])
    return result


RULES: dict[str, Rule] = {
    "AveragePool": _pooling,
    "BatchNormalization": _batch_normalization,
    "Conv": _convolution,
    "Gemm": _gemm,
    "GlobalAveragePool": _pooling,
    "GlobalMaxPool": _pooling,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "MaxPool": _pooling,
    "ReduceMax": _reduction,
    "ReduceMean": _reduction,
    "ReduceSum": _reduction,
}
