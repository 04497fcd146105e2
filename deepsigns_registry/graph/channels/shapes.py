"""Reshaping, selecting and joining: where the channels go."""

from collections.abc import Iterator
from math import prod

from onnx import NodeProto

from deepsigns_registry.graph.channels.groups import Axis, Freedom, Part, Role
from deepsigns_registry.graph.channels.walk import Count, Rule, Walk, attribute

__all__ = ["RULES"]

_RIGID = Freedom.RESIZE | Freedom.DUPLICATE


def _reshape(walk: Walk, node: NodeProto) -> list[Axis] | None:
    if len(node.input) != 2:
        return None
    values, target = node.input
    result = _regrouped(walk, walk.axes(values, Role.PRODUCES), walk.shape(node.output[0]))
    _note_extents(walk, target, result)
    return result


def _flatten(walk: Walk, node: NodeProto) -> list[Axis] | None:
    axes = walk.axes(node.input[0], Role.PRODUCES)
    return _regrouped(walk, axes, walk.shape(node.output[0]))


def _note_extents(walk: Walk, target: str, result: list[Axis]) -> None:
    """Notes which entries of a shape count channels; a shape that is computed cannot follow."""
    extents = walk.constant(target)
    for position, axis in enumerate(result):
        if extents is None:
            walk.groups.forbid(axis, _RIGID)
        elif extents[position - len(result)] > 0:
            walk.counts.append(Count(target, len(extents) - len(result) + position, axis))


def _regrouped(walk: Walk, axes: tuple[Axis, ...], shape: tuple[int, ...]) -> list[Axis]:
    """Axes after a reshape: each run of axes that becomes another run of the same product."""
    result = walk.opaque([1] * len(shape))
    extents = [walk.groups.extent(axis) for axis in axes]
    for old, new in _runs(extents, shape):
        given = [axes[position] for position in old]
        wanted = [shape[position] for position in new]
        if len(given) == 1:
            made = [given[0]] if len(wanted) == 1 else _unfolded(walk, given[0], wanted)
        else:
            made = _folded(walk, given, wanted)
        for position, axis in zip(new, made, strict=True):
            result[position] = axis
    return result


def _runs(old: list[int], new: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """Shortest runs of positions with the same product; extents of one belong to none.

    Examples:
        >>> list(_runs([2, 8, 4, 1, 4], (2, 128)))
        [([0], [0]), ([1, 2, 4], [1])]
    """
    before = [position for position, extent in enumerate(old) if extent != 1]
    after = [position for position, extent in enumerate(new) if extent != 1]
    while before and after:
        first, second = [before.pop(0)], [after.pop(0)]
        while (left := prod(old[i] for i in first)) != (right := prod(new[i] for i in second)):
            shorter, rest = (first, before) if left < right else (second, after)
            if not rest:
                break
            shorter.append(rest.pop(0))
        yield first, second


def _folded(walk: Walk, axes: list[Axis], shape: list[int]) -> list[Axis]:
    """Several axes become one: a channel becomes a block, before each a copy of the whole."""
    free = [position for position, axis in enumerate(axes) if walk.groups.is_free(axis)]
    if len(shape) != 1 or len(free) != 1:
        walk.groups.fix(axes)
        return walk.opaque(shape)
    outer = prod(walk.groups.extent(axis) for axis in axes[: free[0]])
    inner = prod(walk.groups.extent(axis) for axis in axes[free[0] + 1 :])
    parts = tuple(Part(part.group, part.block * inner) for part in axes[free[0]])
    return [parts * outer]


def _unfolded(walk: Walk, axis: Axis, shape: list[int]) -> list[Axis]:
    """One axis becomes several: the way back from `_folded`, if it was folded like this."""
    if not walk.groups.is_free(axis):
        return walk.opaque(shape)
    for position, extent in enumerate(shape):
        outer, inner = prod(shape[:position]), prod(shape[position + 1 :])
        count = len(axis) // outer
        parts = tuple(Part(part.group, part.block // inner) for part in axis[:count])
        again = tuple(Part(part.group, part.block * inner) for part in parts) * outer
        if again == axis and walk.groups.extent(parts) == extent:
            result = walk.opaque(shape)
            result[position] = parts
            return result
    walk.groups.fix([axis])
    return walk.opaque(shape)


def _transpose(walk: Walk, node: NodeProto) -> list[Axis] | None:
    axes = walk.axes(node.input[0], Role.PRODUCES)
    return [axes[place] for place in attribute(node, "perm", range(len(axes))[::-1])]


def _squeeze(walk: Walk, node: NodeProto) -> list[Axis] | None:
    axes = walk.axes(node.input[0], Role.PRODUCES)
    chosen = walk.integers(node, 1, "axes")
    if chosen is None:
        return None
    gone = {place % len(axes) for place in chosen} or {
        place for place, axis in enumerate(axes) if walk.groups.extent(axis) == 1
    }
    return [axis for place, axis in enumerate(axes) if place not in gone]


def _unsqueeze(walk: Walk, node: NodeProto) -> list[Axis] | None:
    axes = list(walk.axes(node.input[0], Role.PRODUCES))
    chosen = walk.integers(node, 1, "axes")
    if not chosen:
        return None
    rank = len(axes) + len(chosen)
    for place in sorted(axis % rank for axis in chosen):
        axes[place:place] = walk.opaque([1])
    return axes


def _concat(walk: Walk, node: NodeProto) -> list[Axis] | None:
    every = [walk.axes(name, Role.PRODUCES) for name in node.input]
    first = list(every[0])
    along = attribute(node, "axis", 0) % len(first)
    for axes in every[1:]:
        for place, axis in enumerate(axes):
            if place != along:
                walk.groups.tie(first[place], axis)
    first[along] = tuple(part for axes in every for part in axes[along])
    return first


def _gather(walk: Walk, node: NodeProto) -> list[Axis] | None:
    values, indices = node.input
    axes = walk.axes(values, Role.PRODUCES)
    along = attribute(node, "axis", 0) % len(axes)
    walk.groups.fix([axes[along]])
    if not walk.is_weight(indices):
        walk.groups.fix(walk.axes(indices))
    return [*axes[:along], *walk.opaque(walk.shape(indices)), *axes[along + 1 :]]


def _slice(walk: Walk, node: NodeProto) -> list[Axis] | None:
    axes = walk.axes(node.input[0], Role.PRODUCES)
    starts, chosen = walk.integers(node, 1, "starts"), walk.integers(node, 3, "axes")
    if starts is None or chosen is None:
        return None
    return _cut(walk, node, axes, {place % len(axes) for place in chosen or range(len(starts))})


def _pad(walk: Walk, node: NodeProto) -> list[Axis] | None:
    axes = walk.axes(node.input[0], Role.PRODUCES)
    pads, chosen = walk.integers(node, 1, "pads"), walk.integers(node, 3, "axes")
    if not pads or chosen is None:
        return None
    along = [place % len(axes) for place in chosen or range(len(axes))]
    padded = {
        place
        for index, place in enumerate(along)
        if pads[index] != 0 or pads[len(along) + index] != 0
    }
    fill = walk.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else 0
    if fill is None or fill != 0 or attribute(node, "value", 0.0):
        for axis in axes:
            walk.groups.forbid(axis, Freedom.SCALE)
    return _cut(walk, node, axes, padded)


def _cut(walk: Walk, node: NodeProto, axes: tuple[Axis, ...], along: set[int]) -> list[Axis]:
    """The axes, those along which positions are left out or added being opaque."""
    walk.groups.fix(axes[place] for place in along)
    result = walk.opaque(walk.shape(node.output[0]))
    return [result[place] if place in along else axis for place, axis in enumerate(axes)]


def _expand(walk: Walk, node: NodeProto) -> list[Axis] | None:
    values, target = node.input
    axes = walk.axes(values, Role.PRODUCES)
    shape = walk.shape(node.output[0])
    result = walk.opaque(shape)
    for place, axis in enumerate(axes, len(shape) - len(axes)):
        if walk.groups.extent(axis) == shape[place]:
            result[place] = axis
    extents = walk.constant(target)
    missing = 0 if extents is None else len(shape) - len(extents)
    for place, axis in enumerate(result):
        if extents is None:
            walk.groups.forbid(axis, _RIGID)
        elif place >= missing and extents[place - missing] > 1:
            walk.counts.append(Count(target, place - missing, axis))
    return result


def _size(walk: Walk, node: NodeProto) -> list[Axis] | None:
    # Numbers that are computed from an extent may meet constants that depend on it.
    for axis in walk.axes(node.input[0], Role.PRODUCES):
        walk.groups.forbid(axis, _RIGID)
    return walk.opaque(walk.shape(node.output[0]))


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _size,
    "Size": _size,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
