"""Steps that change nothing, and two changes of shape in a row."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from deepsigns_registry.graph.canonical.circuit import Circuit, renamed, targets_of
from deepsigns_registry.graph.canonical.shapes import attribute_of_node
from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Opaque, Step

__all__ = ["drop_dead", "drop_identities", "join_reshapes"]

# An orthogonal matrix times its transpose, in float32, is off by 1e-6.
_TOLERANCE = 1e-5


def drop_identities(circuit: Circuit) -> bool:
    """Drops what gives what it reads: identities, dropout, reshapes to the same, unit matrices.

    Returns:
        Whether anything changed.
    """
    # All together, so that a node that reads thousands of them is rewritten once.
    sources: dict[str, str] = {}
    for number in circuit.in_order():
        step = circuit.steps[number]
        source, targets = _passed_on(step, circuit), targets_of(step)
        if source is not None and targets[0] not in circuit.outputs:
            sources[targets[0]] = sources.get(source, source)
            circuit.drop(number)
    readers = {number for name in sources for number in circuit.readers(name)}
    for number in readers:
        circuit.put(number, renamed(circuit.steps[number], sources))
    return bool(sources)


def drop_dead(circuit: Circuit) -> bool:
    """Drops what nothing reads.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in reversed(circuit.in_order()):
        names = targets_of(circuit.steps[number])
        if not any(circuit.readers(name) or name in circuit.outputs for name in names):
            circuit.drop(number)
            changed = True
    return changed


def join_reshapes(circuit: Circuit) -> bool:
    """Of two changes of shape in a row drops the first; a change to rows is a flattening.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        if not isinstance(step, Opaque) or not _reshapes(step.node, circuit):
            continue
        node, before = step.node, circuit.written(step.node.input[0])
        if isinstance(before, Opaque) and _reshapes(before.node, circuit):
            circuit.put(number, _reading(node, before.node.input[0]))
            changed = True
        elif node.op_type != "Flatten" and len(circuit.shapes[node.output[0]]) == 2:
            given, result = node.input[0], node.output[0]
            circuit.put(number, Opaque(helper.make_node("Flatten", [given], [result], axis=1)))
            changed = True
    return changed


def _reading(node: NodeProto, source: str) -> Opaque:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[0] = source
    return Opaque(copy)


def _reshapes(node: NodeProto, circuit: Circuit) -> bool:
    """Whether it gives each sample, whose values it knows all, another shape."""
    if node.op_type not in {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}:
        return False
    if node.op_type == "Flatten" and attribute_of_node(node, "axis", 1) != 1:
        return False
    target = circuit.constants.get(node.input[1]) if node.op_type == "Reshape" else None
    # A zero stands for an extent of what is read, which another one would not have.
    if node.op_type == "Reshape" and (target is None or 0 in target.tolist()[1:]):
        return False
    before, behind = (circuit.shapes.get(name) for name in (node.input[0], node.output[0]))
    if before is None or behind is None or not before or not behind:
        return False
    known = min(before[1:], default=1) > 0 and min(behind[1:], default=1) > 0
    samples = before[0] == behind[0] == -1
    return known and samples and _product(before) == _product(behind)


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape[1:]:
        total *= extent
    return total


def _passed_on(step: Step, circuit: Circuit) -> str | None:
    """The tensor that a step gives again, if it does that."""
    if isinstance(step, Diagonal):
        same = np.all(np.abs(step.factor - 1) <= _TOLERANCE) and not np.any(step.shift)
        return step.source if same else None
    if isinstance(step, Affine):
        return step.source if _is_unit(step) else None
    if len(targets_of(step)) != 1 or not step.node.input:
        return None
    return str(step.node.input[0]) if _passes(step.node, circuit) else None


def _passes(node: NodeProto, circuit: Circuit) -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        return not _trains(node, circuit.constants)
    if _bends_nothing(node, circuit.constants):
        return True
    before, behind = (circuit.shapes.get(name) for name in (node.input[0], node.output[0]))
    if before is None or before != behind or min(before[1:], default=1) < 0:
        return False
    if node.op_type == "Transpose":
        order = list(attribute_of_node(node, "perm", list(reversed(range(len(before))))))
        return order == sorted(order)
    return _reshapes(node, circuit)


def _bends_nothing(node: NodeProto, constants: Mapping[str, NDArray[np.generic]]) -> bool:
    """Whether it is an activation function whose two sides are the same line."""
    if node.op_type == "LeakyRelu":
        return bool(attribute_of_node(node, "alpha", 0.01) == 1)
    if node.op_type == "PRelu":
        slope = constants.get(node.input[1])
        return slope is not None and slope.size == 1 and bool(np.all(slope == 1))
    if node.op_type != "Clip":
        return False
    # Before version 11 the bounds are attributes, which are as wide as the type by default.
    if any(entry.name in {"min", "max"} for entry in node.attribute):
        return False
    widest = float(np.finfo(np.float32).max)
    for name, sign in zip(node.input[1:3], (-1, 1), strict=False):
        bound = constants.get(name) if name else np.array(sign * widest)
        if bound is None or bound.size != 1 or not np.all(sign * bound.astype(float) >= widest):
            return False
    return True


def _trains(node: NodeProto, constants: Mapping[str, object]) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return False
    mode = constants.get(node.input[2])
    return mode is None or bool(np.any(np.asarray(mode)))


def _is_unit(step: Affine) -> bool:
    outputs, inputs = step.weight.shape[:2]
    if not step.pointwise or outputs != inputs or np.any(np.abs(step.bias) > _TOLERANCE):
        return False
    matrix = step.weight.reshape(outputs, inputs)
    return bool(np.all(np.abs(matrix - np.eye(outputs)) <= _TOLERANCE))
