"""Layers: matrix products, convolutions, normalisation, pooling, dropout."""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.graph.operators.table import Call, Table, integers

__all__ = ["OPERATORS", "convolve"]

OPERATORS = Table()

_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
_MAX_POOLS = {3: functional.max_pool1d, 4: functional.max_pool2d, 5: functional.max_pool3d}
_AVERAGE_POOLS = {3: functional.avg_pool1d, 4: functional.avg_pool2d, 5: functional.avg_pool3d}
_ACTIVATIONS = {"": torch.clone, "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh}


@OPERATORS.add("MatMul")
def _matmul(call: Call, left: Tensor, right: Tensor) -> Tensor:  # noqa: ARG001
    return left @ right


@OPERATORS.add("FusedMatMul", domain="com.microsoft")
def _fused_matmul(call: Call, left: Tensor, right: Tensor) -> Tensor:
    if call.get("transBatchA") or call.get("transBatchB"):
        raise call.unsupported("a transposed batch")
    left = left.transpose(-1, -2) if call.get("transA") else left
    right = right.transpose(-1, -2) if call.get("transB") else right
    return torch.mul(left @ right, call.get("alpha", 1.0))


@OPERATORS.add("Gemm")
@OPERATORS.add("FusedGemm", domain="com.microsoft")
def _gemm(call: Call, left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
    left = left.T if call.get("transA") else left
    right = right.T if call.get("transB") else right
    product = call.get("alpha", 1.0) * (left @ right)
    result = product if added is None else product + call.get("beta", 1.0) * added
    return _activated(call, result)


@OPERATORS.add("Conv")
@OPERATORS.add("FusedConv", domain="com.microsoft")
def _conv(
    call: Call,
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    added: Tensor | None = None,
) -> Tensor:
    result = convolve(call, values, weight, bias)
    return _activated(call, result if added is None else result + added)


def convolve(call: Call, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution with the attributes of an ONNX node.

    Args:
        call: The node: strides, pads, auto_pad, dilations, group.
        values: [batch, channels, ...] with one to three spatial dimensions.
        weight: [outputs, channels / group, ...].
        bias: [outputs], or None.

    Returns:
        [batch, outputs, ...].
    """
    if values.ndim not in _CONVOLUTIONS:
        raise call.unsupported(f"{values.ndim - 2} spatial dimensions")
    spatial = values.ndim - 2
    strides = call.get("strides", [1] * spatial)
    dilations = call.get("dilations", [1] * spatial)
    pads = _pads(call, values, list(weight.shape[2:]), strides, dilations)
    if any(pads):
        values = functional.pad(values, _torch_order(pads))
    return _CONVOLUTIONS[values.ndim](
        values, weight, bias, strides, 0, dilations, call.get("group", 1)
    )


@OPERATORS.add("BatchNormalization")
def _batch_normalization(  # noqa: PLR0917 - the operator's inputs
    call: Call, values: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    if call.outputs > 1 or call.get("training_mode"):
        raise call.unsupported("training mode")
    # In training the running statistics follow the batches, as in the model it came from.
    return functional.batch_norm(
        values, mean, variance, scale, shift, call.training, 0.1, call.get("epsilon", 1e-5)
    )


@OPERATORS.add("LayerNormalization")
def _layer_normalization(
    call: Call, values: Tensor, scale: Tensor, shift: Tensor | None = None
) -> Tensor:
    if call.outputs > 1:
        raise call.unsupported("more than one output")
    shape = values.shape[call.get("axis", -1) % values.ndim :]
    normal = functional.layer_norm(values, shape, eps=call.get("epsilon", 1e-5)) * scale
    return normal if shift is None else normal + shift


@OPERATORS.add("InstanceNormalization")
def _instance_normalization(call: Call, values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    # Statistics are the sample's own, in training as in evaluation.
    return functional.instance_norm(values, weight=scale, bias=shift, eps=call.get("epsilon", 1e-5))


@OPERATORS.add("Dropout")
def _dropout(
    call: Call, values: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> Tensor:
    if call.outputs > 1 or (training is not None and bool(training)):
        raise call.unsupported("training mode")
    share = call.get("ratio", 0.5) if ratio is None else float(ratio)
    return functional.dropout(values, share, training=call.training)


@OPERATORS.add("MaxPool")
def _max_pool(call: Call, values: Tensor) -> Tensor:
    if call.outputs > 1 or values.ndim not in _MAX_POOLS:
        raise call.unsupported("indices, or more than three spatial dimensions")
    kernel, strides, dilations, pads, extra = _window(call, values)
    padded = [before + more for before, more in zip(pads, extra, strict=True)]
    if any(padded):
        lowest = -torch.inf if values.is_floating_point() else torch.iinfo(values.dtype).min
        values = functional.pad(values, _torch_order(padded), value=lowest)
    return _MAX_POOLS[values.ndim](values, kernel, strides, 0, dilations)


@OPERATORS.add("AveragePool")
def _average_pool(call: Call, values: Tensor) -> Tensor:
    kernel, strides, dilations, pads, extra = _window(call, values)
    if any(step != 1 for step in dilations) or values.ndim not in _AVERAGE_POOLS:
        raise call.unsupported("dilation, or more than three spatial dimensions")
    pool = _AVERAGE_POOLS[values.ndim]
    # The mean over the window, divided by the share of the window that counts: the input, and
    # the declared padding if asked for, but never what rounding up adds at the end.
    counted = torch.ones_like(values[:1, :1])
    inside = float(bool(call.get("count_include_pad", 0)))
    counted = functional.pad(counted, _torch_order(pads), value=inside)
    counted = functional.pad(counted, _torch_order(extra))
    padded = [before + more for before, more in zip(pads, extra, strict=True)]
    values = functional.pad(values, _torch_order(padded))
    return pool(values, kernel, strides) / pool(counted, kernel, strides)


@OPERATORS.add("GlobalAveragePool")
def _global_average_pool(call: Call, values: Tensor) -> Tensor:  # noqa: ARG001
    return values.mean(dim=tuple(range(2, values.ndim)), keepdim=True)


@OPERATORS.add("GlobalMaxPool")
def _global_max_pool(call: Call, values: Tensor) -> Tensor:  # noqa: ARG001
    return values.amax(dim=tuple(range(2, values.ndim)), keepdim=True)


@OPERATORS.add("ReduceMean")
def _reduce_mean(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduce(call, values, axes, torch.mean)


@OPERATORS.add("ReduceSum")
def _reduce_sum(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduce(call, values, axes, torch.sum)


@OPERATORS.add("ReduceMax")
def _reduce_max(call: Call, values: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduce(call, values, axes, torch.amax)


def _reduce(
    call: Call, values: Tensor, axes: Tensor | None, function: Callable[..., Tensor]
) -> Tensor:
    # The axes were an attribute before opset 18 (13 for ReduceSum).
    over = integers(axes, call.get("axes"))
    if not over:
        if call.get("noop_with_empty_axes"):
            return values.clone()
        over = list(range(values.ndim))
    return function(values, dim=over, keepdim=bool(call.get("keepdims", 1)))


def _activated(call: Call, values: Tensor) -> Tensor:
    # Only fused operators of onnxruntime have this attribute.
    name = call.get("activation", "")
    if name == "LeakyRelu":
        return functional.leaky_relu(values, call.get("activation_params", [0.01])[0])
    if name not in _ACTIVATIONS:
        raise call.unsupported(f"activation {name}")
    return _ACTIVATIONS[name](values) if name else values


def _pads(
    call: Call, values: Tensor, kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """Padding before each spatial dimension, then after each."""
    mode = call.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return list(call.get("pads", [0] * (2 * len(kernel))))
    before, after = [0] * len(kernel), [0] * len(kernel)
    if mode != "VALID":
        for axis, extent in enumerate(values.shape[2:]):
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            windows = ceil(extent / strides[axis])
            total = max(0, (windows - 1) * strides[axis] + reach - extent)
            half = total // 2
            before[axis], after[axis] = (
                (half, total - half) if mode == "SAME_UPPER" else (total - half, half)
            )
    return before + after


def _window(
    call: Call, values: Tensor
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Kernel, strides, dilations, pads, and the padding that rounding up adds at the ends."""
    kernel = list(call.get("kernel_shape"))
    strides = list(call.get("strides", [1] * len(kernel)))
    dilations = list(call.get("dilations", [1] * len(kernel)))
    pads = _pads(call, values, kernel, strides, dilations)
    extra = [0] * (2 * len(kernel))
    if call.get("ceil_mode") and call.get("auto_pad", "NOTSET") == "NOTSET":
        for axis, extent in enumerate(values.shape[2:]):
            before, after = pads[axis], pads[len(kernel) + axis]
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            windows = ceil((extent + before + after - reach) / strides[axis]) + 1
            # A window that would start in the padding at the end does not count.
            if (windows - 1) * strides[axis] >= extent + before:
                windows -= 1
            needed = (windows - 1) * strides[axis] + reach
            extra[len(kernel) + axis] = max(0, needed - extent - before - after)
    return kernel, strides, dilations, pads, extra


def _torch_order(pads: list[int]) -> list[int]:
    """Pads of ONNX (all before, then all after) in torch's order (last dimension first)."""
    half = len(pads) // 2
    return [pad for axis in reversed(range(half)) for pad in (pads[axis], pads[half + axis])]
