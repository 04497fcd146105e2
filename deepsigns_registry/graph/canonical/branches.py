"""Linear maps of one tensor that are added or stood side by side become one map."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.shapes import ELEMENTWISE, attribute_of_node
from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Kind, Opaque, Values, Window

__all__ = ["drop_silent", "merge_branches", "merge_functions"]

_MOST_BRANCHES, _MOST_VALUES = 64, 1 << 26
_SIGNS = {"Add": (1.0, 1.0), "Sub": (1.0, -1.0)}


def merge_branches(circuit: Circuit) -> bool:
    """Merges linear branches of one tensor that are added, subtracted or concatenated.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps.get(number)
        if not isinstance(step, Opaque) or len(step.node.output) != 1:
            continue
        node = step.node
        if node.op_type not in {"Add", "Sub", "Sum", "Concat"}:
            continue
        with np.errstate(all="ignore"):
            whole = _whole(node, circuit)
        if whole is None:
            continue
        for name in set(node.input) - {whole.source}:
            place = circuit.writer(name)
            if place is not None:
                circuit.drop(place)
        circuit.put(number, replace(whole, target=node.output[0], origin=None))
        changed = True
    return changed


def _whole(node: NodeProto, circuit: Circuit) -> Affine | Diagonal | None:
    """What a node gives, as one map of the tensor that all of its branches read."""
    signs = _SIGNS.get(node.op_type, (1.0,) * len(node.input))
    branches = _branches(node, circuit)
    if branches is None:
        return None if node.op_type == "Concat" else _added_factors(node, circuit, signs)
    if node.op_type == "Concat":
        return _stacked(branches, node, circuit)
    return _added(branches, signs)


def _added_factors(node: NodeProto, circuit: Circuit, signs: Sequence[float]) -> Diagonal | None:
    """The sum of a tensor and of itself with factors and shifts."""
    steps = [circuit.written(name) for name in node.input]
    known = [step for step in steps if isinstance(step, Diagonal)]
    if not known or len(steps) > _MOST_BRANCHES:
        return None
    # The one with a factor for each channel says where the channels are.
    model = max(known, key=lambda step: len(step.factor))
    factor, shift = np.zeros(len(model.factor)), np.zeros(len(model.factor))
    for name, step, sign in zip(node.input, steps, signs, strict=True):
        if name == model.source:
            factor += sign
            continue
        if not isinstance(step, Diagonal) or not circuit.is_sole(name):
            return None
        alike = (step.source, step.rank) == (model.source, model.rank)
        if not alike or not (step.uniform or step.axis == model.axis):
            return None
        factor += sign * step.factor
        shift += sign * step.shift
    kind = model.factor.dtype
    return replace(model, factor=factor.astype(kind), shift=shift.astype(kind), origin=None)


def _branches(node: NodeProto, circuit: Circuit) -> list[Affine] | None:
    """The linear maps that a node joins, all of one source, which may itself be one of them."""
    names = list(node.input)
    if not 2 <= len(names) <= _MOST_BRANCHES:
        return None
    steps = [circuit.written(name) for name in names]
    layers = [step for step in steps if isinstance(step, Affine)]
    if not layers:
        return None
    source, model = layers[0].source, layers[0]
    found: list[Affine] = []
    for name, step in zip(names, steps, strict=True):
        layer: Affine | None = None
        if name == source:
            layer = _as_layer(None, model)
        elif isinstance(step, Affine | Diagonal) and step.source == source:
            only = circuit.is_sole(name) and names.count(name) == 1
            layer = _as_layer(step, model) if only else None
        if layer is None:
            return None
        found.append(layer)
    return found


def _as_layer(step: Affine | Diagonal | None, model: Affine) -> Affine | None:
    """A map as a layer of the same kind as another one; the source itself is a unit matrix."""
    if isinstance(step, Affine):
        same = step.kind is model.kind and step.weight.ndim == model.weight.ndim
        return step if same and step.weight.dtype == model.weight.dtype else None
    columns = model.weight.shape[1]
    if columns * columns > _MOST_VALUES:
        return None
    factor = np.ones(1) if step is None else step.factor.astype(np.float64)
    shift = np.zeros(1) if step is None else step.shift.astype(np.float64)
    if len(factor) not in {1, columns}:
        return None
    ranks = {Kind.DENSE: 2, Kind.TOKENS: 3, Kind.CONVOLUTION: model.weight.ndim}
    axis = ranks[model.kind] - 1 if model.kind is Kind.TOKENS else 1
    if step is not None and (
        step.rank != ranks[model.kind] or not (step.uniform or step.axis == axis)
    ):
        return None
    weight = (np.eye(columns) * factor).reshape(columns, columns, *[1] * (model.weight.ndim - 2))
    return Affine(
        model.source,
        "",
        model.kind,
        weight.astype(model.weight.dtype),
        np.broadcast_to(shift, columns).astype(model.weight.dtype),
        Window.plain(model.weight.ndim - 2),
    )


def _added(branches: Sequence[Affine], signs: Sequence[float]) -> Affine | None:
    if len({len(branch.weight) for branch in branches}) != 1:
        return None
    alike = _alike(branches)
    if alike is None:
        return None
    kind = alike[0].weight.dtype
    weight = sum(s * one.weight.astype(np.float64) for s, one in zip(signs, alike, strict=True))
    bias = sum(s * one.bias.astype(np.float64) for s, one in zip(signs, alike, strict=True))
    return replace(
        alike[0],
        weight=np.asarray(weight, kind),
        bias=np.asarray(bias, kind),
    )


def _stacked(branches: Sequence[Affine], node: NodeProto, circuit: Circuit) -> Affine | None:
    shape = circuit.shapes.get(node.output[0])
    if shape is None or _channels(branches[0], len(shape)) != attribute_of_node(
        node, "axis", 0
    ) % len(shape):
        return None
    alike = _alike(branches)
    if alike is None or sum(branch.weight.size for branch in alike) > _MOST_VALUES:
        return None
    return replace(
        alike[0],
        weight=np.concatenate([branch.weight for branch in alike]),
        bias=np.concatenate([branch.bias for branch in alike]),
    )


def _channels(layer: Affine, rank: int) -> int:
    return rank - 1 if layer.kind is Kind.TOKENS else 1


def _alike(branches: Sequence[Affine]) -> list[Affine] | None:
    """The branches with one kernel size, where zeros around smaller kernels make that exact."""
    windows = [branch.window for branch in branches]
    first = windows[0]
    if all(window == first for window in windows) and (
        len({branch.weight.shape[2:] for branch in branches}) == 1
    ):
        return list(branches)
    axes = len(first.strides)
    if any(w.strides != first.strides or set(w.dilations) - {1} for w in windows):
        return None
    before = [max(window.before[axis] for window in windows) for axis in range(axes)]
    behind = [max(window.behind[axis] for window in windows) for axis in range(axes)]
    found = []
    for branch in branches:
        more = [
            (before[axis] - branch.window.before[axis], behind[axis] - branch.window.behind[axis])
            for axis in range(axes)
        ]
        extents = [
            extent + sum(added) for extent, added in zip(branch.weight.shape[2:], more, strict=True)
        ]
        if np.prod([*branch.weight.shape[:2], *extents]) > _MOST_VALUES:
            return None
        weight: Values = np.pad(branch.weight, [(0, 0), (0, 0), *more])
        window = Window(first.strides, (1,) * axes, tuple(before), tuple(behind))
        found.append(replace(branch, weight=weight, window=window))
    return found if len({branch.weight.shape[2:] for branch in found}) == 1 else None


def merge_functions(circuit: Circuit) -> bool:
    """Applies a function of single values behind a concatenation once, not before it many times.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps.get(number)
        if not isinstance(step, Opaque) or step.node.op_type != "Concat":
            continue
        node = step.node
        shape = circuit.shapes.get(node.output[0])
        writers = [circuit.written(name) for name in node.input]
        functions = [entry.node for entry in writers if isinstance(entry, Opaque)]
        if len(functions) < len(writers) or not 2 <= len(writers) <= _MOST_BRANCHES:
            continue
        if not _same_function(functions) or not all(circuit.is_sole(name) for name in node.input):
            continue
        before = circuit.fresh(shape)
        places = [circuit.writer(name) for name in node.input]
        joined = NodeProto()
        joined.CopyFrom(node)
        joined.input[:] = [function.input[0] for function in functions]
        joined.output[0] = before
        behind = NodeProto()
        behind.CopyFrom(functions[0])
        behind.input[0], behind.output[0] = before, node.output[0]
        last = max(place for place in places if place is not None)
        for place in places:
            if place is not None:
                circuit.drop(place)
        circuit.put(number, Opaque(behind))
        # Everything that was concatenated was written before the last function.
        circuit.put(last, Opaque(joined))
        changed = True
    return changed


def _same_function(nodes: Sequence[NodeProto]) -> bool:
    first = nodes[0]
    return first.op_type in ELEMENTWISE and all(
        node.op_type == first.op_type
        and len(node.output) == 1
        and list(node.input[1:]) == list(first.input[1:])
        and list(node.attribute) == list(first.attribute)
        for node in nodes
    )


def drop_silent(circuit: Circuit) -> bool:
    """Drops what is multiplied by zero and added to something.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        step = circuit.steps.get(number)
        if not isinstance(step, Opaque) or step.node.op_type not in {"Add", "Sub"}:
            continue
        node = step.node
        shapes = [circuit.shapes.get(name) for name in (*node.input, *node.output)]
        if len(node.input) != 2 or None in shapes or len(set(shapes)) != 1:
            continue
        for place in (1, 0) if node.op_type == "Add" else (1,):
            silent = circuit.written(node.input[place])
            if _is_silent(silent) and node.output[0] not in circuit.outputs:
                circuit.redirect(node.output[0], node.input[1 - place])
                circuit.drop(number)
                changed = True
                break
            if _is_silent(silent):
                node = _passing(node, 1 - place)
                circuit.put(number, Opaque(node))
                changed = True
                break
    return changed


def _passing(node: NodeProto, place: int) -> NodeProto:
    return NodeProto(op_type="Identity", input=[node.input[place]], output=list(node.output))


def _is_silent(step: object) -> bool:
    if isinstance(step, Diagonal):
        return not np.any(step.factor) and not np.any(step.shift)
    return isinstance(step, Affine) and not np.any(step.weight) and not np.any(step.bias)
