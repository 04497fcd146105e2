"""Axes in another order, on the way to a matrix: the matrix takes the order up."""

from dataclasses import dataclass, replace
from math import prod
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from deepsigns_registry.graph.canonical.circuit import Circuit, Shape
from deepsigns_registry.graph.canonical.shapes import ELEMENTWISE, attribute_of_node
from deepsigns_registry.graph.canonical.steps import Affine, Kind, Opaque, Step

__all__ = ["fold_reorders", "join_transposes", "pass_transposes"]

_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
# Changes of shape and order in a row, features that are followed, and layers that take an order up.
_MOST_STEPS, _MOST_FEATURES, _MOST_READERS = 32, 1 << 20, 8
# Products that a copied value counts for: layers may share a weight, and copies take memory.
_COPY = 256


def join_transposes(circuit: Circuit) -> bool:
    """Makes one of two orders of axes in a row; one that restores the other is dropped.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        behind = _order(step.node) if isinstance(step, Opaque) else None
        if not isinstance(step, Opaque) or behind is None:
            continue
        source, target = step.node.input[0], step.node.output[0]
        before = circuit.written(source)
        first = _order(before.node) if isinstance(before, Opaque) else None
        if isinstance(before, Opaque) and first is not None and len(first) == len(behind):
            source, behind = before.node.input[0], [first[axis] for axis in behind]
            node = helper.make_node("Transpose", [source], [target], perm=behind)
            if behind == sorted(behind):
                node = helper.make_node("Identity", [source], [target])
            circuit.put(number, Opaque(node))
            changed = True
    return changed


def pass_transposes(circuit: Circuit) -> bool:
    """Moves an order of axes behind a function of each value, where it may meet its inverse.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        if not isinstance(step, Opaque) or step.node.op_type not in ELEMENTWISE:
            continue
        source, outputs = step.node.input[0], step.node.output
        before, place = circuit.written(source), circuit.writer(source)
        if not isinstance(before, Opaque) or place is None or len(outputs) != 1:
            continue
        if _order(before.node) is None or not circuit.is_sole(source):
            continue
        given = before.node.input[0]
        between = circuit.fresh(circuit.shapes.get(given))
        circuit.put(place, Opaque(_between(step.node, given, between)))
        circuit.put(number, Opaque(_between(before.node, between, outputs[0])))
        changed = True
    return changed


def fold_reorders(circuit: Circuit) -> bool:
    """Folds an order of features into the matrices that read it, or into the one that writes it.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        reorder = _reorder(step.node, circuit) if isinstance(step, Opaque) else None
        if reorder is not None:
            into = _into_readers(reorder, number, circuit) or _into_writer(reorder, number, circuit)
            changed = changed or into
    return changed


@dataclass(frozen=True, repr=False, eq=False)
class _Reorder:
    """Features in another order.

    Attributes:
        source: What they are read from, of any shape.
        target: What they are put into, one row a sample.
        order: int64 [features]: the place in the source of each, counted without axes.
        alone: Whether nothing else reads the source, or what stands between.
    """

    source: str
    target: str
    order: NDArray[np.int64]
    alone: bool


def _reorder(node: NodeProto, circuit: Circuit) -> _Reorder | None:
    """What ends in a row of features and began in another order, if a node is the end of that."""
    target = str(node.output[0]) if node.output else ""
    shape = circuit.shapes.get(target, ())
    if len(shape) != 2 or not 0 < shape[1] <= _MOST_FEATURES:
        return None
    chain: list[NodeProto] = []
    source = target
    while len(chain) < _MOST_STEPS:
        step = circuit.written(source)
        if not isinstance(step, Opaque) or not _keeps_samples(step.node, circuit):
            break
        chain.append(step.node)
        source = str(step.node.input[0])
    reordered = any(found.op_type == "Transpose" for found in chain)
    if not reordered or not circuit.affords(_COPY * len(chain) * shape[1]):
        return None
    order = np.arange(shape[1]).reshape(circuit.shapes[source][1:])
    for found in reversed(chain):
        axes = _order(found)
        if axes is None:
            order = order.reshape(circuit.shapes[found.output[0]][1:])
        else:
            order = order.transpose([axis - 1 for axis in axes[1:]])
    alone = all(circuit.is_sole(found.input[0]) for found in chain)
    return _Reorder(source, target, order.reshape(-1), alone)


def _keeps_samples(node: NodeProto, circuit: Circuit) -> bool:
    """Whether each sample has the values that it had, in another shape or order."""
    if node.domain not in {"", "ai.onnx"} or len(node.output) != 1:
        return False
    before, behind = (circuit.shapes.get(name) for name in (node.input[0], node.output[0]))
    if not _is_known(before) or not _is_known(behind) or prod(before[1:]) != prod(behind[1:]):
        return False
    axes = _order(node)
    if axes is not None:
        return len(axes) == len(before) and axes[0] == 0
    return node.op_type in _RESHAPES


def _is_known(shape: Shape | None) -> TypeGuard[Shape]:
    return shape is not None and len(shape) > 1 and shape[0] == -1 and min(shape[1:]) > 0


def _into_readers(reorder: _Reorder, number: int, circuit: Circuit) -> bool:
    readers = {reader: circuit.steps[reader] for reader in circuit.readers(reorder.target)}
    if not 1 <= len(readers) <= _MOST_READERS or reorder.target in circuit.outputs:
        return False
    flat = circuit.fresh((-1, len(reorder.order)))
    folded = {}
    for reader, layer in readers.items():
        if not _is_dense(layer) or layer.weight.shape[1] != len(reorder.order):
            return False
        if not circuit.affords(_COPY * layer.weight.size):
            return False
        weight = np.empty_like(layer.weight)
        weight[:, reorder.order] = layer.weight
        folded[reader] = replace(layer, source=flat, weight=weight, origin=None)
    node = helper.make_node("Flatten", [reorder.source], [flat], axis=1)
    circuit.put(number, Opaque(node))
    for reader, layer in folded.items():
        circuit.put(reader, layer)
    return True


def _into_writer(reorder: _Reorder, number: int, circuit: Circuit) -> bool:
    layer = circuit.written(reorder.source)
    if not _is_dense(layer) or not reorder.alone:
        return False
    if len(layer.weight) != len(reorder.order) or not circuit.affords(_COPY * layer.weight.size):
        return False
    moved = replace(
        layer,
        target=reorder.target,
        weight=layer.weight[reorder.order],
        bias=layer.bias[reorder.order],
        origin=None,
    )
    circuit.put(number, moved)
    return True


def _is_dense(step: Step | None) -> TypeGuard[Affine]:
    return isinstance(step, Affine) and step.kind is Kind.DENSE


def _order(node: NodeProto) -> list[int] | None:
    """The order in which a node puts axes, where it says one."""
    if node.op_type != "Transpose" or node.domain not in {"", "ai.onnx"} or len(node.output) != 1:
        return None
    order = attribute_of_node(node, "perm", None)
    if order is None or sorted(order) != list(range(len(order))):
        return None
    return [int(axis) for axis in order]


def _between(node: NodeProto, source: str, target: str) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[0], copy.output[0] = source, target
    return copy
