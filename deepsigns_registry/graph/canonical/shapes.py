"""Shapes of a graph's tensors, as far as they follow from the nodes' constants.

The graph is not run, and what a rule does not know has no shape: then nothing that needs one is
rewritten behind it. Each rule costs a time bounded by the ranks.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from deepsigns_registry.graph.canonical.circuit import Shape

__all__ = ["ELEMENTWISE", "ODD", "attribute_of_node", "averages_alike", "known_shapes"]

Constants = Mapping[str, NDArray[np.generic]]

ELEMENTWISE = frozenset(
    {
        *("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Gelu", "HardSwish", "Mish"),
        *("HardSigmoid", "Softplus", "Softsign", "Celu", "ThresholdedRelu", "Erf", "Exp", "Abs"),
        *("Neg", "Sqrt", "Clip", "Identity", "Dropout"),
    }
)
"""Operators that map every value of their first input for itself."""

_SAME = ELEMENTWISE | {
    *("BatchNormalization", "Softmax", "LogSoftmax", "LayerNormalization", "PRelu"),
    *("InstanceNormalization", "GroupNormalization", "LRN", "Cast", "Not"),
}
_BROADCAST = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "And", "Or"),
        *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"),
    }
)
_MOST_RANK = 8

ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What is raised where a stranger's node is of a form that nobody thought of."""


def known_shapes(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    constants: Constants,
    row: Shape | None = None,
) -> dict[str, Shape]:
    """The shapes that follow from constants.

    Args:
        model: The graph, for its inputs.
        nodes: Its nodes in an order in which they run.
        constants: Its constants.
        row: Shape of one sample, where the caller knows it better than the file says.
    """
    shapes: dict[str, Shape] = {}
    for entry in model.graph.input:
        if entry.name in constants:
            continue
        kind = entry.type.tensor_type
        if row is not None:
            shapes[entry.name] = (-1, *row)
        elif kind.HasField("shape") and kind.shape.dim:
            extents = [max(dimension.dim_value, 0) or -1 for dimension in kind.shape.dim]
            shapes[entry.name] = (-1, *extents[1:])
    for name, value in constants.items():
        shapes[name] = value.shape
    for node in nodes:
        rule = _RULES.get(node.op_type) if node.domain in {"", "ai.onnx"} else None
        if rule is None or not node.output:
            continue
        try:
            shape = rule(node, shapes, constants)
        except ODD:
            shape = None
        if shape is not None and len(shape) <= _MOST_RANK and min(shape, default=0) >= -1:
            shapes[node.output[0]] = shape
    return shapes


def attribute_of_node(node: NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or a default."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def averages_alike(node: NodeProto) -> bool:
    """Whether a node averages over positions, over as many of them everywhere.

    Zeros around an image have a part in the average, or none, by a flag and its version.
    """
    if node.op_type == "GlobalAveragePool":
        return True
    return (
        node.op_type == "AveragePool"
        and not any(attribute_of_node(node, "pads", []))
        and attribute_of_node(node, "auto_pad", b"NOTSET") in {b"NOTSET", b"VALID"}
        and not attribute_of_node(node, "ceil_mode", 0)
    )


Rule = Callable[[NodeProto, Mapping[str, Shape], Constants], Shape | None]


def _same(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    return shapes.get(node.input[0])


def _broadcast(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    given = [shapes.get(name) for name in node.input]
    known = [shape for shape in given if shape is not None]
    if len(known) != len(given):
        return None
    rank = max(len(shape) for shape in known)
    padded = [(1,) * (rank - len(shape)) + shape for shape in known]
    return tuple(_joined(extents) for extents in zip(*padded, strict=True))


def _joined(extents: Sequence[int]) -> int:
    wide = [extent for extent in extents if extent > 1]
    return wide[0] if wide else -1 if -1 in extents else 1


def _gemm(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    weight = shapes.get(node.input[1])
    if weight is None or len(weight) != 2:
        return None
    return (-1, weight[0] if attribute_of_node(node, "transB", 0) else weight[1])


def _matmul(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    given, weight = shapes.get(node.input[0]), shapes.get(node.input[1])
    if given is None or weight is None or len(weight) != 2 or len(given) < 2:
        return None
    return (*given[:-1], weight[1])


def _window(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    if node.op_type == "Conv":
        weight = shapes.get(node.input[1])
        if weight is None:
            return None
        kernel, channels = weight[2:], weight[0]
        given = shapes.get(node.input[0], (-1,) * len(weight))
    else:
        kernel = tuple(attribute_of_node(node, "kernel_shape", ()))
        known = shapes.get(node.input[0])
        if known is None:
            return None
        given, channels = known, known[1]
    axes = len(kernel)
    if len(given) != axes + 2:
        return None
    strides = attribute_of_node(node, "strides", [1] * axes)
    dilations = attribute_of_node(node, "dilations", [1] * axes)
    pads = attribute_of_node(node, "pads", [0] * (2 * axes))
    padding = attribute_of_node(node, "auto_pad", b"NOTSET")
    rounding = attribute_of_node(node, "ceil_mode", 0)
    extents = []
    for axis in range(axes):
        held = given[2 + axis]
        if held < 0 or (rounding and padding == b"NOTSET"):
            extents.append(-1)
        elif padding in {b"SAME_UPPER", b"SAME_LOWER"}:
            extents.append(-(-held // strides[axis]))
        else:
            added = pads[axis] + pads[axes + axis] if padding == b"NOTSET" else 0
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            extents.append((held + added - reach) // strides[axis] + 1)
    return (given[0], channels, *extents)


def _everywhere(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    given = shapes.get(node.input[0])
    return None if given is None else (*given[:2], *[1] * (len(given) - 2))


def _flatten(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    given = shapes.get(node.input[0])
    if given is None or attribute_of_node(node, "axis", 1) != 1:
        return None
    return (-1, prod(given[1:]) if min(given[1:], default=1) > 0 else -1)


def _reshape(node: NodeProto, shapes: Mapping[str, Shape], constants: Constants) -> Shape | None:
    target = constants.get(node.input[1])
    if target is None or target.ndim != 1 or len(target) > _MOST_RANK:
        return None
    given = shapes.get(node.input[0])
    wanted = [int(extent) for extent in target.tolist()]
    if not attribute_of_node(node, "allowzero", 0):
        wanted = [
            (given[place] if given and place < len(given) else -1) if extent == 0 else extent
            for place, extent in enumerate(wanted)
        ]
    if given is None or not wanted:
        return tuple(wanted) or None
    # The batch stays in front where all that stands behind it is kept.
    held, made = given[1:], wanted[1:]
    if min(held, default=1) > 0 and made.count(-1) == 1 and wanted[0] == -1 == given[0]:
        known = prod(extent for extent in made if extent > 0)
        if 0 in target.tolist()[:1] and known and prod(held) % known == 0:
            made[made.index(-1)] = prod(held) // known
    return (wanted[0], *made)


def _transpose(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    given = shapes.get(node.input[0])
    if given is None:
        return None
    order = attribute_of_node(node, "perm", list(reversed(range(len(given)))))
    return tuple(given[place] for place in order)


def _concat(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    given = [shapes[name] for name in node.input]
    axis = attribute_of_node(node, "axis", 0) % len(given[0])
    if any(len(shape) != len(given[0]) for shape in given):
        return None
    extents = [shape[axis] for shape in given]
    whole = -1 if min(extents) < 0 else sum(extents)
    first = given[0]
    return (*first[:axis], whole, *first[axis + 1 :])


def _axes(node: NodeProto, constants: Constants) -> list[int] | None:
    if len(node.input) > 1 and node.input[1]:
        value = constants.get(node.input[1])
        return None if value is None else [int(axis) for axis in value.ravel().tolist()]
    found = attribute_of_node(node, "axes", None)
    return None if found is None else [int(axis) for axis in found]


def _reduced(node: NodeProto, shapes: Mapping[str, Shape], constants: Constants) -> Shape | None:
    given, axes = shapes.get(node.input[0]), _axes(node, constants)
    if given is None or axes is None:
        return None
    gone = {axis % len(given) for axis in axes}
    if node.op_type == "Squeeze" or not attribute_of_node(node, "keepdims", 1):
        return tuple(extent for place, extent in enumerate(given) if place not in gone)
    return tuple(1 if place in gone else extent for place, extent in enumerate(given))


def _unsqueezed(node: NodeProto, shapes: Mapping[str, Shape], constants: Constants) -> Shape | None:
    given, axes = shapes.get(node.input[0]), _axes(node, constants)
    if given is None or axes is None or len(axes) + len(given) > _MOST_RANK:
        return None
    rank = len(given) + len(axes)
    places, rest = {axis % rank for axis in axes}, iter(given)
    return tuple(1 if place in places else next(rest) for place in range(rank))


def _einsum(node: NodeProto, shapes: Mapping[str, Shape], _: Constants) -> Shape | None:
    sides, result = attribute_of_node(node, "equation", b"").decode("ascii").split("->")
    extents: dict[str, int] = {}
    for term, name in zip(sides.replace(" ", "").split(","), node.input, strict=True):
        shape = shapes.get(name)
        if shape is None or len(shape) != len(term) or not term.isalpha():
            return None
        extents |= dict(zip(term, shape, strict=True))
    return tuple(extents[letter] for letter in result.strip())


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool", "LpPool"), _window),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _everywhere),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "Squeeze"),
        _reduced,
    ),
    "Concat": _concat,
    "Einsum": _einsum,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueezed,
}
