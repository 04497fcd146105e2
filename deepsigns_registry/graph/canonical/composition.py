"""One linear map behind another as one, where that is exact.

Sums are made in float64 and stored in the type of the file. What is left of sums that cancel is
nothing, where it is no more than the rounding of the values that were added up: it would hide that
nothing weighs a unit.
"""

from dataclasses import replace
from itertools import product
from math import prod

import numpy as np

from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Kind, Values, Window

__all__ = ["composed"]

_MOST_VALUES, _WIDEST_KERNEL = 1 << 26, 31


def composed(
    first: Affine | Diagonal, second: Affine | Diagonal, circuit: Circuit
) -> Affine | Diagonal | None:
    """What reads the first's source and gives the second's target.

    Args:
        first: A linear map.
        second: One that reads it.
        circuit: For what folding may still cost.

    Returns:
        One map; None when there is none that is exact, or it would cost too much.
    """
    if isinstance(first, Diagonal):
        if isinstance(second, Diagonal):
            return _two_diagonals(first, second)
        return _scaled_columns(first, second, circuit)
    if isinstance(second, Diagonal):
        return _scaled_rows(first, second)
    return _two_layers(first, second, circuit)


def channel_axis(step: Affine, rank: int) -> int:
    """The axis along which a layer of so many axes has its channels."""
    return rank - 1 if step.kind is Kind.TOKENS else 1


def _two_diagonals(first: Diagonal, second: Diagonal) -> Diagonal | None:
    if first.rank != second.rank or first.factor.dtype != second.factor.dtype:
        return None
    if not first.uniform and not second.uniform and first.axis != second.axis:
        return None
    factor, shift, gain, moved = _doubles(first.factor, first.shift, second.factor, second.shift)
    if not first.uniform and not second.uniform and len(factor) != len(gain):
        return None
    kind = first.factor.dtype
    return Diagonal(
        first.source,
        second.target,
        second.axis if first.uniform else first.axis,
        first.rank,
        (gain * factor).astype(kind),
        (gain * shift + moved).astype(kind),
    )


def _scaled_rows(first: Affine, second: Diagonal) -> Affine | None:
    if second.factor.dtype != first.weight.dtype or not _fits(first, second, len(first.weight)):
        return None
    weight, bias, gain, moved = _doubles(first.weight, first.bias, second.factor, second.shift)
    kind = first.weight.dtype
    return replace(
        first,
        target=second.target,
        weight=(weight * gain.reshape(-1, *[1] * (weight.ndim - 1))).astype(kind),
        bias=(bias * gain + moved).astype(kind),
        origin=None,
    )


def _scaled_columns(first: Diagonal, second: Affine, circuit: Circuit) -> Affine | None:
    columns = second.weight.shape[1]
    if first.factor.dtype != second.weight.dtype or not _fits(second, first, columns):
        return None
    # At its edges a padded convolution reads zeros, and not what the shift made of them.
    if second.window.padded and np.any(first.shift):
        return None
    if not circuit.affords(second.weight.size):
        return None
    weight, bias, factor, shift = _doubles(second.weight, second.bias, first.factor, first.shift)
    shape = (-1, *[1] * (weight.ndim - 2))
    moved = (weight * shift.reshape(shape)).reshape(len(weight), -1).sum(1)
    kind = second.weight.dtype
    return replace(
        second,
        source=first.source,
        weight=(weight * factor.reshape(shape)).astype(kind),
        bias=(bias + moved).astype(kind),
        origin=None,
    )


def _fits(layer: Affine, scale: Diagonal, channels: int) -> bool:
    ranks = {Kind.DENSE: 2, Kind.TOKENS: 3, Kind.CONVOLUTION: layer.weight.ndim}
    if scale.rank != ranks[layer.kind]:
        return False
    return scale.uniform or (
        scale.axis == channel_axis(layer, scale.rank) and len(scale.factor) == channels
    )


def _two_layers(first: Affine, second: Affine, circuit: Circuit) -> Affine | None:
    if first.kind is not second.kind or first.weight.dtype != second.weight.dtype:
        return None
    if first.weight.shape[0] != second.weight.shape[1]:
        return None
    if first.kind is Kind.CONVOLUTION:
        return _two_convolutions(first, second, circuit)
    return _two_matrices(first, second, circuit)


def _two_matrices(first: Affine, second: Affine, circuit: Circuit) -> Affine | None:
    outputs, inputs = len(second.weight), first.weight.shape[1]
    if outputs * inputs > _MOST_VALUES or not circuit.affords(second.weight.size * inputs):
        return None
    one, offset, other, moved = _doubles(first.weight, first.bias, second.weight, second.bias)
    kind = second.weight.dtype
    return replace(
        second,
        source=first.source,
        weight=_rounded(other @ one, np.abs(other) @ np.abs(one), kind),
        bias=(other @ offset + moved).astype(kind),
        origin=None,
    )


def _two_convolutions(first: Affine, second: Affine, circuit: Circuit) -> Affine | None:
    if first.weight.ndim != second.weight.ndim:
        return None
    if second.window.padded and (not first.pointwise or np.any(first.bias)):
        return None
    found = _window(first, second)
    if found is None:
        return None
    kernel, window = found
    outputs, inputs = len(second.weight), first.weight.shape[1]
    products = second.weight.size * inputs * prod(first.weight.shape[2:])
    if outputs * inputs * prod(kernel) > _MOST_VALUES or not circuit.affords(products):
        return None
    one, offset, other, moved = _doubles(first.weight, first.bias, second.weight, second.bias)
    weight, added = np.zeros((2, outputs, inputs, *kernel))
    strides, dilations = first.window.strides, second.window.dilations
    extents = first.weight.shape[2:]
    for place in product(*(range(extent) for extent in other.shape[2:])):
        taken: tuple[slice, ...] = tuple(
            slice(at * dilation * stride, at * dilation * stride + extent)
            for at, dilation, stride, extent in zip(place, dilations, strides, extents, strict=True)
        )
        entry: tuple[slice, ...] = tuple(slice(at, at + 1) for at in place)
        part = other[(slice(None), slice(None), *entry)].reshape(other.shape[:2])
        at_place = (slice(None), slice(None), *taken)
        weight[at_place] += np.tensordot(part, one, axes=1)
        added[at_place] += np.tensordot(np.abs(part), np.abs(one), axes=1)
    kind = second.weight.dtype
    total = other.reshape(*other.shape[:2], -1).sum(2) @ offset + moved
    return replace(
        second,
        source=first.source,
        weight=_rounded(weight, added, kind),
        bias=total.astype(kind),
        window=window,
        origin=None,
    )


def _window(first: Affine, second: Affine) -> tuple[tuple[int, ...], Window] | None:
    """The kernel's extents and the window of a convolution behind another one."""
    inner, outer = first.window, second.window
    if first.pointwise:
        return second.weight.shape[2:], outer
    if all(extent == 1 for extent in second.weight.shape[2:]):
        extents = first.weight.shape[2:]
        dilations = inner.dilations
    elif set(inner.dilations) == {1}:
        extents = tuple(
            one + (other - 1) * dilation * stride
            for one, other, dilation, stride in zip(
                first.weight.shape[2:],
                second.weight.shape[2:],
                outer.dilations,
                inner.strides,
                strict=True,
            )
        )
        dilations = inner.dilations
    else:
        return None
    if max(extents, default=1) > _WIDEST_KERNEL:
        return None
    strides = tuple(one * other for one, other in zip(inner.strides, outer.strides, strict=True))
    return extents, Window(strides, dilations, inner.before, inner.behind)


def _rounded(sums: Values, sizes: Values, kind: np.dtype[np.floating]) -> Values:
    """Sums of products in a file's type, given the sums of the products' sizes."""
    return np.where(np.abs(sums) > np.finfo(kind).eps * sizes, sums, 0).astype(kind)


def _doubles(*values: Values) -> tuple[Values, ...]:
    return tuple(value.astype(np.float64) for value in values)
