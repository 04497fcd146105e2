"""From an ONNX graph to steps: every form of a linear map becomes one of two kinds of step."""

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
from google.protobuf.message import Error as ProtobufError
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical.circuit import Circuit, Shape
from deepsigns_registry.graph.canonical.constants import folded_constants
from deepsigns_registry.graph.canonical.precision import in_single_precision
from deepsigns_registry.graph.canonical.shapes import ODD, attribute_of_node, known_shapes
from deepsigns_registry.graph.canonical.steps import (
    Affine,
    Diagonal,
    Kind,
    Opaque,
    Step,
    Values,
    Window,
)
from deepsigns_registry.graph.constants import with_constants_hoisted
from deepsigns_registry.graph.order import live_nodes

__all__ = ["read_circuit"]

# Values of all constants together: what alignment reads at most.
_MOST_VALUES = 1 << 28
_FLOATS = (np.float16, np.float32, np.float64)
# Features that a selection chooses from, and entries of the matrix that it is written as.
_MOST_FEATURES, _MOST_SELECTED = 1 << 20, 1 << 24


def read_circuit(model: ModelProto, *, where: str, row: Shape | None = None) -> Circuit:
    """Reads what a checked model's first output depends on.

    Args:
        model: The model; see `graph.structure.read_model`.
        where: What to call it in errors.
        row: Shape of one sample, where the caller knows it better than the file says.

    Raises:
        CouldNotCheckError: It holds too many values, or some that cannot be read.
    """
    nodes = live_nodes(model)
    used = {name for node in nodes for name in node.input}
    try:
        plain = with_constants_hoisted(model)
        entries = [tensor for tensor in plain.graph.initializer if tensor.name in used]
        if sum(prod(tensor.dims) for tensor in entries) > _MOST_VALUES:
            raise CouldNotCheckError(
                f"{where}: holds more than {_MOST_VALUES} values",
                advice="its tap can be read in the file's own form only",
            )
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in entries}
    except (ArithmeticError, LookupError, TypeError, ValueError, ProtobufError) as error:
        raise CouldNotCheckError(
            f"{where}: cannot be read: {error!r:.200}", advice="export the model again"
        ) from error
    nodes = [
        node for node in nodes if node.op_type != "Constant" or node.output[0] not in constants
    ]
    nodes, constants = in_single_precision(model, nodes, constants)
    outputs = [entry.name for entry in model.graph.output[:1]]
    nodes, constants = folded_constants(nodes, constants, outputs)
    shapes = known_shapes(model, nodes, constants, row)
    steps = [_step(node, constants, shapes) for node in nodes]
    held = {tensor.name for tensor in model.graph.initializer}
    given = (entry.name for entry in model.graph.input if entry.name not in held)
    return Circuit(steps, constants, shapes, outputs, next(given, ""))


Constants = Mapping[str, NDArray[np.generic]]
Shapes = Mapping[str, Shape]
Rule = Callable[[NodeProto, Constants, Shapes], Step | None]


def _step(node: NodeProto, constants: Constants, shapes: Shapes) -> Step:
    rule = _RULES.get(node.op_type) if node.domain in {"", "ai.onnx"} else None
    found = None
    if rule is not None and len([name for name in node.output if name]) == 1:
        try:
            found = rule(node, constants, shapes)
        except ODD:
            found = None
    return Opaque(node) if found is None else found


def _gemm(node: NodeProto, constants: Constants, _: Shapes) -> Step | None:
    weight = _floats(constants, node.input[1])
    if weight is None or weight.ndim != 2 or attribute_of_node(node, "transA", 0):
        return None
    if node.input[0] in constants:
        return None
    rows = weight if attribute_of_node(node, "transB", 0) else weight.T
    alpha, beta = (float(attribute_of_node(node, name, 1.0)) for name in ("alpha", "beta"))
    bias = np.zeros(len(rows), rows.dtype)
    if len(node.input) > 2 and node.input[2]:
        given = _floats(constants, node.input[2])
        if given is None or given.shape[:-1] not in {(), (1,)}:
            return None
        bias = np.broadcast_to(given.reshape(-1), bias.shape)
    if (alpha, beta) != (1.0, 1.0):
        rows, bias = (np.asarray(alpha * rows, rows.dtype), np.asarray(beta * bias, rows.dtype))
    return Affine(node.input[0], node.output[0], Kind.DENSE, rows, bias, origin=node)


def _matmul(node: NodeProto, constants: Constants, shapes: Shapes) -> Step | None:
    weight, given = _floats(constants, node.input[1]), shapes.get(node.input[0])
    if weight is None or weight.ndim != 2 or given is None or node.input[0] in constants:
        return None
    kinds = {2: Kind.DENSE, 3: Kind.TOKENS}
    if len(given) not in kinds:
        return None
    bias = np.zeros(weight.shape[1], weight.dtype)
    kind = kinds[len(given)]
    return Affine(node.input[0], node.output[0], kind, weight.T, bias, origin=node)


def _einsum(node: NodeProto, constants: Constants, shapes: Shapes) -> Step | None:
    """A product with a matrix that is written by indices."""
    equation = attribute_of_node(node, "equation", b"").decode("ascii").replace(" ", "")
    sides, result = equation.split("->")
    terms = sides.split(",")
    if len(terms) != 2 or len(node.input) != 2:
        return None
    place = 0 if node.input[0] in constants else 1
    weight, source = _floats(constants, node.input[place]), node.input[1 - place]
    held, read = terms[place], terms[1 - place]
    known = shapes.get(source)
    letters = len(set(held)) == 2 == len(held) and len(set(read)) == len(read) in {2, 3}
    if weight is None or weight.ndim != 2 or known is None:
        return None
    if not letters or len(known) != len(read):
        return None
    kept = result[-1]
    if read[-1] not in held or kept not in held or kept in read or result[:-1] != read[:-1]:
        return None
    rows = weight if held[0] == kept else weight.T
    kind = Kind.DENSE if len(read) == 2 else Kind.TOKENS
    bias = np.zeros(len(rows), rows.dtype)
    return Affine(source, node.output[0], kind, rows, bias)


def _conv(node: NodeProto, constants: Constants, shapes: Shapes) -> Step | None:
    weight = _floats(constants, node.input[1])
    if weight is None or weight.ndim < 3:
        return None
    bias = np.zeros(len(weight), weight.dtype)
    if len(node.input) > 2 and node.input[2]:
        given = _floats(constants, node.input[2])
        if given is None or given.shape != bias.shape:
            return None
        bias = given
    window = _window(node, weight)
    if window is None:
        return None
    group = attribute_of_node(node, "group", 1)
    step = Affine(
        node.input[0], node.output[0], Kind.CONVOLUTION, weight, bias, window, origin=node
    )
    if group == 1:
        return step
    known = shapes.get(node.input[0])
    if group == len(weight) and weight.shape[1] == 1 and known and known[1] == group:
        return _depthwise(step)
    return None


def _depthwise(step: Affine) -> Diagonal | None:
    if not step.pointwise:
        return None
    factor = step.weight.reshape(-1)
    return Diagonal(
        step.source, step.target, 1, step.weight.ndim, factor, step.bias, origin=step.origin
    )


def _window(node: NodeProto, weight: Values) -> Window | None:
    axes = weight.ndim - 2
    strides = tuple(attribute_of_node(node, "strides", [1] * axes))
    dilations = tuple(attribute_of_node(node, "dilations", [1] * axes))
    pads = list(attribute_of_node(node, "pads", [0] * (2 * axes)))
    padding = attribute_of_node(node, "auto_pad", b"NOTSET")
    if padding == b"VALID":
        pads = [0] * (2 * axes)
    elif padding in {b"SAME_UPPER", b"SAME_LOWER"}:
        if set(strides) != {1}:
            return None
        reach = [(k - 1) * d for k, d in zip(weight.shape[2:], dilations, strict=True)]
        small, large = [r // 2 for r in reach], [r - r // 2 for r in reach]
        pads = small + large if padding == b"SAME_UPPER" else large + small
    if not len(strides) == len(dilations) == axes or len(pads) != 2 * axes or min(pads) < 0:
        return None
    if min(strides) < 1 or min(dilations) < 1:
        return None
    return Window(strides, dilations, tuple(pads[:axes]), tuple(pads[axes:]))


def _normalisation(node: NodeProto, constants: Constants, shapes: Shapes) -> Step | None:
    known = shapes.get(node.input[0])
    given = [_floats(constants, name) for name in node.input[1:5]]
    values = [value for value in given if value is not None]
    if known is None or len(known) < 2 or len(values) != 4:
        return None
    if attribute_of_node(node, "training_mode", 0) or any(v.ndim != 1 for v in values):
        return None
    gain, shift, mean, variance = (value.astype(np.float64) for value in values)
    epsilon = float(attribute_of_node(node, "epsilon", 1e-5))
    with np.errstate(all="ignore"):
        factor = gain / np.sqrt(variance + epsilon)
        moved = shift - mean * factor
    kind = values[0].dtype
    return Diagonal(
        node.input[0],
        node.output[0],
        1,
        len(known),
        factor.astype(kind),
        moved.astype(kind),
        origin=node,
    )


def _arithmetic(node: NodeProto, constants: Constants, shapes: Shapes) -> Step | None:
    """A sum, difference, product or quotient with a constant of one value, or one a channel."""
    if len(node.input) != 2:
        return None
    place = 0 if node.input[0] in constants else 1
    source, value = node.input[1 - place], _floats(constants, node.input[place])
    known = shapes.get(source)
    if value is None or known is None or source in constants or value.ndim > len(known):
        return None
    wide = [axis - value.ndim for axis, extent in enumerate(value.shape) if extent != 1]
    rank = len(known)
    axis = wide[0] + rank if wide else 1
    if len(wide) > 1 or axis == 0 or (wide and known[axis] != value.size):
        return None
    values = value.reshape(-1).astype(np.float64)
    factor, shift = np.ones_like(values), np.zeros_like(values)
    with np.errstate(all="ignore"):
        if node.op_type == "Mul":
            factor = values
        elif node.op_type == "Add":
            shift = values
        elif node.op_type == "Sub":
            factor, shift = (-factor, values) if place == 0 else (factor, -values)
        elif place == 0:
            return None
        else:
            factor = 1 / values
    kind = value.dtype
    return Diagonal(
        source, node.output[0], axis, rank, factor.astype(kind), shift.astype(kind), origin=node
    )


def _negation(node: NodeProto, _: Constants, shapes: Shapes) -> Step | None:
    known = shapes.get(node.input[0])
    if known is None:
        return None
    one = np.ones(1, np.float32)
    return Diagonal(node.input[0], node.output[0], 1, len(known), -one, 0 * one, origin=node)


def _selection(node: NodeProto, constants: Constants, shapes: Shapes) -> Step | None:
    """Chosen features of a matrix, as a matrix of zeros and ones."""
    known = shapes.get(node.input[0])
    if known is None or len(known) != 2 or not 1 <= known[1] <= _MOST_FEATURES:
        return None
    if node.op_type == "Gather":
        index = constants.get(node.input[1])
        if index is None or index.ndim != 1 or attribute_of_node(node, "axis", 0) not in {1, -1}:
            return None
        chosen = index.astype(np.int64) % known[1]
    else:
        found = _sliced(node, constants, known[1])
        if found is None:
            return None
        chosen = found
    if not len(chosen) or len(chosen) * known[1] > _MOST_SELECTED:
        return None
    weight = np.zeros((len(chosen), known[1]), np.float32)
    weight[np.arange(len(chosen)), chosen] = 1
    bias = np.zeros(len(chosen), np.float32)
    return Affine(node.input[0], node.output[0], Kind.DENSE, weight, bias, origin=node)


def _sliced(node: NodeProto, constants: Constants, extent: int) -> NDArray[np.int64] | None:
    given = [constants.get(name) for name in node.input[1:]]
    parts = [value for value in given if value is not None]
    if not 3 <= len(parts) == len(given) <= 4 or any(value.size != 1 for value in parts):
        return None
    start, stop, axis, *steps = (int(value.reshape(-1)[0]) for value in parts)
    step = steps[0] if steps else 1
    if axis not in {1, -1} or step == 0:
        return None
    # As far back as it goes means past the front, for a step to the back.
    last = None if step < 0 and stop < -extent else stop
    return np.arange(extent)[start:last:step]


def _floats(constants: Constants, name: str) -> Values | None:
    value = constants.get(name)
    return value if value is not None and value.dtype in _FLOATS else None


_RULES: dict[str, Rule] = {
    "Add": _arithmetic,
    "BatchNormalization": _normalisation,
    "Conv": _conv,
    "Div": _arithmetic,
    "Einsum": _einsum,
    "Gather": _selection,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Mul": _arithmetic,
    "Neg": _negation,
    "Slice": _selection,
    "Sub": _arithmetic,
}
