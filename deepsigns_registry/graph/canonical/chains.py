"""Chains of linear maps become one map, also through a flattening or an average between them."""

from dataclasses import replace
from math import prod

import numpy as np
from onnx import NodeProto, helper

from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.composition import composed
from deepsigns_registry.graph.canonical.shapes import attribute_of_node, averages_alike
from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Kind, Opaque, Window

__all__ = ["fold_chains", "pass_averages", "pass_flattening"]

# A layer is folded into so many that read it, and a factor into so many.
_MOST_LAYERS, _MOST_FACTORS = 8, 64


def fold_chains(circuit: Circuit) -> bool:
    """Folds every linear map into those that read it, if all of them can take it up.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        if isinstance(step, Opaque) or step.target in circuit.outputs:
            continue
        readers = circuit.readers(step.target)
        most = _MOST_FACTORS if isinstance(step, Diagonal) else _MOST_LAYERS
        if not 1 <= len(readers) <= most:
            continue
        found: dict[int, Affine | Diagonal] = {}
        for reader in readers:
            other = circuit.steps[reader]
            if isinstance(other, Opaque):
                break
            with np.errstate(all="ignore"):
                whole = composed(step, other, circuit)
            if whole is None:
                break
            found[reader] = whole
        if len(found) < len(readers):
            continue
        for reader, whole in found.items():
            circuit.put(reader, whole)
        circuit.drop(number)
        changed = True
    return changed


def pass_flattening(circuit: Circuit) -> bool:
    """Moves a map of the channels of an image behind its flattening, into the matrix that reads it.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        flattening = circuit.steps[number]
        if not isinstance(flattening, Opaque) or flattening.node.op_type != "Flatten":
            continue
        source, target = flattening.node.input[0], flattening.node.output[0]
        mixing, place = circuit.written(source), circuit.writer(source)
        if place is None or isinstance(mixing, Opaque) or mixing is None:
            continue
        if not circuit.is_sole(source) or not circuit.is_sole(target):
            continue
        (reader,) = circuit.readers(target)
        layer = circuit.steps[reader]
        shape = circuit.shapes.get(source)
        if not isinstance(layer, Affine) or layer.kind is not Kind.DENSE or shape is None:
            continue
        known = circuit.shapes.get(mixing.source)
        if known is None or not _flattens(flattening.node, shape, layer):
            continue
        with np.errstate(all="ignore"):
            moved = _behind_flattening(mixing, layer, prod(shape[2:]), circuit)
        if moved is None:
            continue
        between = circuit.fresh((-1, moved.weight.shape[1]))
        circuit.put(number, Opaque(helper.make_node("Flatten", [mixing.source], [between], axis=1)))
        circuit.put(reader, replace(moved, source=between))
        circuit.drop(place)
        changed = True
    return changed


def _flattens(node: NodeProto, shape: tuple[int, ...], layer: Affine) -> bool:
    whole = min(shape[1:], default=0) > 0 and len(shape) > 2
    axis = attribute_of_node(node, "axis", 1)
    return whole and axis == 1 and prod(shape[1:]) == layer.weight.shape[1]


def _behind_flattening(
    mixing: Affine | Diagonal, layer: Affine, positions: int, circuit: Circuit
) -> Affine | None:
    """The matrix that reads what was flattened before its channels were mixed."""
    rows = layer.weight.reshape(len(layer.weight), -1, positions).astype(np.float64)
    if isinstance(mixing, Diagonal):
        if not mixing.uniform and (mixing.axis != 1 or len(mixing.factor) != rows.shape[1]):
            return None
        factor, shift = (values.astype(np.float64) for values in (mixing.factor, mixing.shift))
        weight = rows * factor.reshape(-1, 1)
        kind = mixing.factor.dtype
    else:
        if not mixing.pointwise or len(mixing.weight) != rows.shape[1]:
            return None
        matrix = mixing.weight.reshape(len(mixing.weight), -1).astype(np.float64)
        if not circuit.affords(rows.size * matrix.shape[1]):
            return None
        weight, shift = np.einsum("omp,mi->oip", rows, matrix), mixing.bias.astype(np.float64)
        kind = mixing.weight.dtype
    if kind != layer.weight.dtype:
        return None
    moved = (rows * shift.reshape(-1, 1)).sum((1, 2))
    return replace(
        layer,
        weight=weight.reshape(len(rows), -1).astype(kind),
        bias=(layer.bias.astype(np.float64) + moved).astype(kind),
        origin=None,
    )


def pass_averages(circuit: Circuit) -> bool:
    """Moves a map of the channels of an image behind an average over its positions.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps[number]
        if not isinstance(step, Opaque) or not averages_alike(step.node):
            continue
        source, target = step.node.input[0], step.node.output[0]
        mixing, place = circuit.written(source), circuit.writer(source)
        if place is None or isinstance(mixing, Opaque) or mixing is None:
            continue
        if not circuit.is_sole(source) or (isinstance(mixing, Affine) and not mixing.pointwise):
            continue
        if isinstance(mixing, Diagonal) and mixing.axis != 1 and not mixing.uniform:
            continue
        before, behind = circuit.shapes.get(mixing.source), circuit.shapes.get(target)
        if before is None or behind is None or not 3 <= len(behind) == len(before):
            continue
        first, _, *rest = behind
        between = circuit.fresh((first, before[1], *rest))
        node = NodeProto()
        node.CopyFrom(step.node)
        node.input[0], node.output[0] = mixing.source, between
        circuit.put(place, Opaque(node))
        moved = replace(mixing, source=between, target=target, origin=None)
        if isinstance(moved, Affine):
            moved = replace(moved, window=Window.plain(len(moved.window.strides)))
        circuit.put(number, moved)
        changed = True
    return changed
