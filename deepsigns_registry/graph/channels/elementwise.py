"""Element by element: channels stay where they are; what differs is whether factors pass."""

from onnx import NodeProto, TensorProto

from deepsigns_registry.graph.channels.groups import Axis, Freedom, Role
from deepsigns_registry.graph.channels.walk import Rule, Walk, attribute

__all__ = ["RULES"]

# f(s * x) = s * f(x) for every s > 0.
_HOMOGENEOUS = {"Abs", "Dropout", "Identity", "LeakyRelu", "Neg", "Relu"}
_BOUNDED = {
    "And",
    "Clip",
    "Elu",
    "Equal",
    "Erf",
    "Gelu",
    "Greater",
    "HardSigmoid",
    "HardSwish",
    "Less",
    "Max",
    "Min",
    "Not",
    "Or",
    "Round",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "Where",
}
# Of a channel with random weights these may give no finite number, which no zero takes away.
_UNBOUNDED = {"Exp", "Log", "Pow", "Reciprocal", "Sqrt"}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


def _homogeneous(walk: Walk, node: NodeProto) -> list[Axis] | None:
    return list(walk.axes(node.input[0], Role.PRODUCES))


def _cast(walk: Walk, node: NodeProto) -> list[Axis] | None:
    if attribute(node, "to", 0) in _FLOATS:
        return _homogeneous(walk, node)
    return _bounded(walk, node)


def _bounded(walk: Walk, node: NodeProto) -> list[Axis] | None:
    result, _ = _broadcast(walk, node, Role.FOLLOWS)
    for axis in result:
        walk.groups.forbid(axis, Freedom.SCALE)
    return result


def _unbounded(walk: Walk, node: NodeProto) -> list[Axis] | None:
    result, _ = _broadcast(walk, node, Role.FOLLOWS)
    for axis in result:
        walk.groups.forbid(axis, Freedom.SCALE | Freedom.DUPLICATE)
    return result


def _sum(walk: Walk, node: NodeProto) -> list[Axis] | None:
    result, present = _broadcast(walk, node, Role.PRODUCES)
    for axis, having in zip(result, present, strict=True):
        # A term that is the same for all channels does not follow their factors.
        if len(having) < len(node.input):
            walk.groups.forbid(axis, Freedom.SCALE)
    return result


def _product(walk: Walk, node: NodeProto) -> list[Axis] | None:
    result, present = _broadcast(walk, node, Role.FOLLOWS)
    for axis, having in zip(result, present, strict=True):
        scaled = [place for place in having if not walk.is_weight(node.input[place])]
        if len(scaled) != 1:
            walk.groups.forbid(axis, Freedom.SCALE)
    return result


def _quotient(walk: Walk, node: NodeProto) -> list[Axis] | None:
    result, present = _broadcast(walk, node, Role.FOLLOWS)
    for axis, having in zip(result, present, strict=True):
        scaled = [place for place in having if not walk.is_weight(node.input[place])]
        if scaled != [0]:
            walk.groups.forbid(axis, Freedom.SCALE)
        if 1 in scaled:
            walk.groups.forbid(axis, Freedom.DUPLICATE)
    return result


def _softmax(walk: Walk, node: NodeProto) -> list[Axis] | None:
    if walk.opset < 13:
        return None
    axes = walk.axes(node.input[0])
    for axis in axes:
        walk.groups.forbid(axis, Freedom.SCALE)
    walk.groups.forbid(axes[attribute(node, "axis", -1)], Freedom.DUPLICATE)
    return list(axes)


def _broadcast(walk: Walk, node: NodeProto, role: Role) -> tuple[list[Axis], list[list[int]]]:
    """Ties what lies along the same axis; also says which inputs extend along each."""
    shape = walk.shape(node.output[0])
    result = walk.opaque([1] * len(shape))
    present: list[list[int]] = [[] for _ in shape]
    for place, name in enumerate(node.input):
        if not name:
            continue
        axes = walk.axes(name, role)
        for position, axis in enumerate(axes, len(shape) - len(axes)):
            if walk.groups.extent(axis) != shape[position] or shape[position] == 1:
                continue
            if present[position]:
                walk.groups.tie(result[position], axis)
            else:
                result[position] = axis
            present[position].append(place)
    return result, present


RULES: dict[str, Rule] = {
    **dict.fromkeys(_HOMOGENEOUS, _homogeneous),
    **dict.fromkeys(_BOUNDED, _bounded),
    **dict.fromkeys(_UNBOUNDED, _unbounded),
    "Add": _sum,
    "Cast": _cast,
    "Div": _quotient,
    "LogSoftmax": _softmax,
    "Mul": _product,
    "PRelu": _quotient,
    "Softmax": _softmax,
    "Sub": _sum,
    "Sum": _sum,
}
