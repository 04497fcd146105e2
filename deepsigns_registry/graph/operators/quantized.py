"""Eight-bit operators, computed on floats that hold whole numbers.

So gradients pass straight through the rounding, and products are exact: float64 holds every sum
of a billion products of two bytes.
"""

import torch
from torch import Tensor

from deepsigns_registry.graph.operators.layers import convolve
from deepsigns_registry.graph.operators.table import Call, Table, straight_through

__all__ = ["OPERATORS"]

OPERATORS = Table()


@OPERATORS.add("DynamicQuantizeLinear")
def _dynamic_quantize_linear(call: Call, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG001
    exact = values.detach()
    low = exact.min().clamp(max=0)
    scale = (exact.max().clamp(min=0) - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (-low / scale).round().clamp(0, 255)
    steps = ((exact / scale).round() + zero).clamp(0, 255)
    return straight_through(values / scale + zero, steps), scale, zero


@OPERATORS.add("QuantizeLinear")
def _quantize_linear(
    call: Call, values: Tensor, scale: Tensor, zero: Tensor | None = None
) -> Tensor:
    if call.get("block_size"):
        raise call.unsupported("block quantisation")
    kind = torch.uint8 if zero is None else zero.dtype
    if kind.is_floating_point:
        raise call.unsupported("a computed zero point")
    low, high = torch.iinfo(kind).min, torch.iinfo(kind).max
    scale, offset = _shaped(call, values, scale, zero)
    exact = values.detach()
    steps = ((exact / scale).round() + offset).clamp(low, high)
    return straight_through(values / scale + offset, steps)


@OPERATORS.add("DequantizeLinear")
def _dequantize_linear(
    call: Call, values: Tensor, scale: Tensor, zero: Tensor | None = None
) -> Tensor:
    if call.get("block_size"):
        raise call.unsupported("block quantisation")
    scale, offset = _shaped(call, values, scale, zero)
    return (values.to(scale.dtype) - offset) * scale


@OPERATORS.add("MatMulInteger")
def _matmul_integer(
    call: Call,  # noqa: ARG001
    left: Tensor,
    right: Tensor,
    left_zero: Tensor | None = None,
    right_zero: Tensor | None = None,
) -> Tensor:
    # A zero point per row of the left factor stands along its second last dimension.
    if left_zero is not None and left_zero.ndim == 1 and left_zero.numel() > 1:
        left_zero = left_zero.unsqueeze(-1)
    return _offset(left, left_zero) @ _offset(right, right_zero)


@OPERATORS.add("ConvInteger")
def _conv_integer(
    call: Call,
    values: Tensor,
    weight: Tensor,
    zero: Tensor | None = None,
    weight_zero: Tensor | None = None,
) -> Tensor:
    if weight_zero is not None and weight_zero.numel() > 1:
        weight_zero = weight_zero.reshape(-1, *[1] * (weight.ndim - 1))
    return convolve(call, _offset(values, zero), _offset(weight, weight_zero), None)


def _offset(values: Tensor, zero: Tensor | None) -> Tensor:
    exact = values.to(torch.float64)
    return exact if zero is None else exact - zero.to(torch.float64)


def _shaped(
    call: Call, values: Tensor, scale: Tensor, zero: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scale and zero point, broadcast along the axis they belong to."""
    offset = torch.zeros_like(scale) if zero is None else zero.to(scale.dtype)
    if scale.ndim == 1 and scale.numel() > 1:
        shape = [1] * values.ndim
        shape[call.get("axis", 1)] = -1
        return scale.reshape(shape), offset.reshape(shape)
    return scale.reshape(()), offset.reshape(())
