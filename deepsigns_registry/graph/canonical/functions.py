"""One name for functions that can be written in several ways, and one form for maps of a place."""

from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto, helper

from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.shapes import attribute_of_node
from deepsigns_registry.graph.canonical.steps import Affine, Kind, Opaque, Window

__all__ = ["name_functions", "write_places_as_rows"]


def name_functions(circuit: Circuit) -> bool:
    """Calls a maximum with zero, a bound of zero and a slope of zero a ReLU.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        if not isinstance(step, Opaque) or len(step.node.output) != 1:
            continue
        source = _rectified(step.node, circuit)
        shape = circuit.shapes.get(source or "")
        if source and shape is not None and shape == circuit.shapes.get(step.node.output[0]):
            node = NodeProto(op_type="Relu", input=[source], output=list(step.node.output))
            circuit.put(number, Opaque(node))
            changed = True
    return changed


def _rectified(node: NodeProto, circuit: Circuit) -> str | None:
    """The tensor whose negative values a node sets to zero, if that is all it does."""
    given = [str(name) for name in node.input]

    def is_zero(name: str) -> bool:
        value = circuit.constants.get(name)
        return value is not None and not np.any(np.asarray(value))

    if node.op_type == "LeakyRelu":
        return given[0] if attribute_of_node(node, "alpha", 0.01) == 0 else None
    if node.op_type == "PRelu":
        return given[0] if is_zero(given[1]) else None
    if node.op_type == "Clip":
        upper = given[2:] and given[2]
        return given[0] if len(given) > 1 and is_zero(given[1]) and not upper else None
    if node.op_type == "Max" and len(given) == 2:
        rest = [name for name in given if not is_zero(name)]
        return rest[0] if len(rest) == 1 else None
    return None


def write_places_as_rows(circuit: Circuit) -> bool:
    """Writes a convolution from one place to one place as a matrix.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        if not isinstance(step, Affine) or step.kind is not Kind.CONVOLUTION:
            continue
        before, behind = circuit.shapes.get(step.source), circuit.shapes.get(step.target)
        if before is None or behind is None or len(before) != step.weight.ndim:
            continue
        columns = step.weight.shape[1]
        if before[1:] != (columns, *[1] * (len(before) - 2)) or prod(behind[2:]) != 1:
            continue
        place = tuple(
            -(-at // dilation)
            for at, dilation in zip(step.window.before, step.window.dilations, strict=True)
        )
        read = [at * d for at, d in zip(place, step.window.dilations, strict=True)]
        inside = all(at < extent for at, extent in zip(place, step.weight.shape[2:], strict=True))
        # The one value that is read stands where the zeros in front end.
        if not inside or read != list(step.window.before):
            continue
        flat, rows = circuit.fresh((-1, columns)), circuit.fresh((-1, len(step.weight)))
        matrix = step.weight.reshape(*step.weight.shape[:2], -1)[
            :, :, np.ravel_multi_index(place, step.weight.shape[2:])
        ]
        shape = np.array([-1, len(step.weight), *[1] * (len(before) - 2)], np.int64)
        circuit.put(number - 2, Opaque(helper.make_node("Flatten", [step.source], [flat], axis=1)))
        dense = replace(
            step,
            source=flat,
            target=rows,
            kind=Kind.DENSE,
            weight=matrix,
            window=Window.plain(0),
            origin=None,
        )
        circuit.put(number - 1, dense)
        back = helper.make_node("Reshape", [rows, circuit.constant(shape)], [step.target])
        circuit.put(number, Opaque(back))
        changed = True
    return changed
