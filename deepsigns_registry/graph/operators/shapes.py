"""Shapes: reshaping, selecting, joining, and tensors of shape."""

from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.graph.operators.table import MOST_VALUES, Call, Table, integers

__all__ = ["OPERATORS"]

OPERATORS = Table()

_PAD_MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}


@OPERATORS.add("Shape")
def _shape(call: Call, values: Tensor) -> Tensor:
    # Kept on the processor, where shapes are read.
    return torch.tensor(values.shape[call.get("start", 0) : call.get("end")])


@OPERATORS.add("Size")
def _size(call: Call, values: Tensor) -> Tensor:  # noqa: ARG001
    return torch.tensor(values.numel())


@OPERATORS.add("Reshape")
def _reshape(call: Call, values: Tensor, shape: Tensor | None = None) -> Tensor:
    extents = integers(shape, call.get("shape"))
    if not call.get("allowzero", 0):
        extents = [
            values.shape[axis] if extent == 0 else extent for axis, extent in enumerate(extents)
        ]
    return values.reshape(extents)


@OPERATORS.add("Flatten")
def _flatten(call: Call, values: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    axis = axis + values.ndim if axis < 0 else axis
    return values.reshape(prod(values.shape[:axis]), -1)


@OPERATORS.add("Transpose")
def _transpose(call: Call, values: Tensor) -> Tensor:
    return values.permute(call.get("perm", list(reversed(range(values.ndim)))))


@OPERATORS.add("Squeeze")
def _squeeze(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = integers(axes, call.get("axes"))
    return values.squeeze() if chosen is None else values.squeeze(tuple(chosen))


@OPERATORS.add("Unsqueeze")
def _unsqueeze(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = integers(axes, call.get("axes"))
    rank = values.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        values = values.unsqueeze(axis)
    return values


@OPERATORS.add("Concat")
def _concat(call: Call, *values: Tensor) -> Tensor:
    return torch.cat(values, dim=call.get("axis"))


@OPERATORS.add("Gather")
def _gather(call: Call, values: Tensor, indices: Tensor) -> Tensor:
    axis = call.get("axis", 0) % values.ndim
    flat = indices.flatten().to(values.device, torch.int64)
    flat = torch.where(flat < 0, flat + values.shape[axis], flat)
    shape = (*values.shape[:axis], *indices.shape, *values.shape[axis + 1 :])
    return values.index_select(axis, flat).reshape(shape)


@OPERATORS.add("Slice")
def _slice(  # noqa: PLR0917 - the operator's inputs
    call: Call,
    values: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    # Everything was an attribute before opset 10.
    first = integers(starts, call.get("starts"))
    last = integers(ends, call.get("ends"))
    chosen = integers(axes, call.get("axes", list(range(len(first)))))
    strides = integers(steps, [1] * len(first))
    for axis, start, end, step in zip(chosen, first, last, strides, strict=True):
        picked = _picked(values.shape[axis], start, end, step)
        index = torch.tensor(picked, dtype=torch.int64, device=values.device)
        values = values.index_select(axis, index)
    return values


def _picked(extent: int, start: int, end: int, step: int) -> range:
    start = start + extent if start < 0 else start
    end = end + extent if end < 0 else end
    if step > 0:
        return range(min(max(start, 0), extent), min(max(end, 0), extent), step)
    # Unlike a slice in Python, a start before the first element counts as the first.
    return range(min(max(start, 0), extent - 1), min(max(end, -1), extent - 1), step)


@OPERATORS.add("Split")
def _split(call: Call, values: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = call.get("axis", 0)
    parts = integers(sizes, call.get("split"))
    if parts is None:
        size = -(-values.shape[axis] // call.outputs)
        return torch.split(values, size, dim=axis)
    return torch.split(values, parts, dim=axis)


@OPERATORS.add("Pad")
def _pad(
    call: Call,
    values: Tensor,
    pads: Tensor | None = None,
    constant: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    # Attributes before opset 11.
    given = integers(pads, call.get("pads"))
    fill = call.get("value", 0.0) if constant is None else constant.item()
    chosen = [axis % values.ndim for axis in integers(axes, range(values.ndim))]
    before, after = given[: len(chosen)], given[len(chosen) :]
    amounts = {axis: (before[i], after[i]) for i, axis in enumerate(chosen)}
    mode = call.get("mode", "constant")
    if mode not in _PAD_MODES:
        raise call.unsupported(f"mode {mode}")
    order = [amounts.get(axis, (0, 0)) for axis in reversed(range(values.ndim))]
    if mode == "constant":
        return functional.pad(values, [pad for pair in order for pad in pair], value=fill)
    if any(pad for pair in order[-2:] for pad in pair):
        raise call.unsupported(f"mode {mode} along batch or channels")
    # torch pads at most the spatial dimensions in these modes.
    inner = [pad for pair in order[:-2] for pad in pair]
    return functional.pad(values, inner, mode=_PAD_MODES[mode])


@OPERATORS.add("ConstantOfShape")
def _constant_of_shape(call: Call, shape: Tensor) -> Tensor:
    extents = integers(shape)
    if prod(extents) > MOST_VALUES:
        raise call.unsupported(f"a tensor of {prod(extents)} values")
    value = call.get("value")
    if value is None:
        return torch.zeros(extents, device=call.device)
    # Whole numbers are shapes and indices, which stay on the processor.
    where = call.device if value.is_floating_point() else "cpu"
    return torch.full(extents, value.item(), dtype=value.dtype, device=where)


@OPERATORS.add("Expand")
def _expand(call: Call, values: Tensor, shape: Tensor) -> Tensor:
    wanted = integers(shape)
    # Both sides are broadcast: a wanted extent of one keeps what is there.
    filled = [1] * (len(wanted) - values.ndim) + list(values.shape)
    wanted = [1] * (len(filled) - len(wanted)) + wanted
    extents = [have if want == 1 else want for have, want in zip(filled, wanted, strict=True)]
    if prod(extents) > MOST_VALUES:
        raise call.unsupported(f"a tensor of {prod(extents)} values")
    return values.expand(extents)


@OPERATORS.add("Range")
def _range(call: Call, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    count = (limit.item() - start.item()) / step.item()
    if count > MOST_VALUES:
        raise call.unsupported(f"a tensor of {count:.0f} values")
    return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)
