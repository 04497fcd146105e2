"""Bounds that values may never reach: taken away, the layers on both sides are one.

Whether a bound is reached depends on all inputs that there are, which nobody has. So without its
bounds a graph gives another function, which is the file's own wherever none is reached.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.shapes import attribute_of_node
from deepsigns_registry.graph.canonical.steps import Opaque

__all__ = ["drop_bounds", "find_bounds"]

Constants = Mapping[str, NDArray[np.generic]]


def find_bounds(circuit: Circuit) -> dict[int, str]:
    """What cuts values off on both sides of zero, or on one, and leaves those near zero alone.

    Returns:
        For the number of each such step the name of what it reads.
    """
    found = {}
    for number in circuit.in_order():
        step = circuit.steps[number]
        source = _bounded(step.node, circuit.constants) if isinstance(step, Opaque) else None
        if source is not None:
            found[number] = source
    return found


def drop_bounds(circuit: Circuit) -> bool:
    """Lets every value pass that such a bound would cut off.

    Returns:
        Whether there was one.
    """
    bounds = find_bounds(circuit)
    for number, source in bounds.items():
        step = circuit.steps[number]
        if isinstance(step, Opaque):
            node = helper.make_node("Identity", [source], list(step.node.output))
            circuit.put(number, Opaque(node))
    return bool(bounds)


def _bounded(node: NodeProto, constants: Constants) -> str | None:
    if node.domain not in {"", "ai.onnx"} or len(node.output) != 1:
        return None
    given = [str(name) for name in node.input]
    if node.op_type == "Clip":
        return given[0] if given and _leaves_zero(node, given, constants) else None
    if node.op_type not in {"Min", "Max"} or len(given) != 2:
        return None
    values = [name for name in given if name not in constants]
    limits = [_number(name, constants) for name in given if name in constants]
    if len(values) != 1 or len(limits) != 1 or limits[0] is None:
        return None
    apart = limits[0] > 0 if node.op_type == "Min" else limits[0] < 0
    return values[0] if apart else None


def _leaves_zero(node: NodeProto, given: Sequence[str], constants: Constants) -> bool:
    """Whether zero lies between a node's bounds, and one of them is finite."""
    bounds = []
    for place, name, widest in ((1, "min", -np.inf), (2, "max", np.inf)):
        if place < len(given) and given[place]:
            bound = _number(given[place], constants)
        else:
            # Before version 11 bounds are attributes.
            bound = float(attribute_of_node(node, name, widest))
        if bound is None:
            return False
        bounds.append(bound)
    return bounds[0] < 0 < bounds[1] and bool(np.isfinite(bounds).any())


def _number(name: str, constants: Constants) -> float | None:
    """A constant of one value; None for another, and for none."""
    value = constants.get(name)
    if value is None or value.size != 1 or value.ndim > 1:
        return None
    return float(np.asarray(value, np.float64).reshape(()))
