"""Element by element: arithmetic, comparisons, activation functions."""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.graph.operators.table import Call, Operator, Table, straight_through

__all__ = ["OPERATORS"]

OPERATORS = Table()

# TensorProto.DataType; half precision is computed in float32 and rounded on the way.
_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    11: torch.float64,
}
_ROUNDED = {10: torch.float16, 16: torch.bfloat16}


def _plain(function: Callable[..., Tensor]) -> Operator:
    def apply(call: Call, *values: Tensor) -> Tensor:  # noqa: ARG001 - no attributes
        return function(*values)

    return apply


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Greater": torch.gt,
    "Identity": torch.clone,
    "Less": torch.lt,
    "Log": torch.log,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Softplus": functional.softplus,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Where": torch.where,
}
for _name, _function in _FUNCTIONS.items():
    OPERATORS.add(_name)(_plain(_function))


@OPERATORS.add("Div")
def _div(call: Call, values: Tensor, divisor: Tensor) -> Tensor:  # noqa: ARG001
    if values.is_floating_point():
        return torch.div(values, divisor)
    return torch.div(values, divisor, rounding_mode="trunc")


@OPERATORS.add("Min")
def _min(call: Call, *values: Tensor) -> Tensor:  # noqa: ARG001
    return reduce(torch.minimum, values)


@OPERATORS.add("Max")
def _max(call: Call, *values: Tensor) -> Tensor:  # noqa: ARG001
    return reduce(torch.maximum, values)


@OPERATORS.add("Sum")
def _sum(call: Call, *values: Tensor) -> Tensor:  # noqa: ARG001
    return reduce(torch.add, values)


@OPERATORS.add("LeakyRelu")
def _leaky_relu(call: Call, values: Tensor) -> Tensor:
    return functional.leaky_relu(values, call.get("alpha", 0.01))


@OPERATORS.add("PRelu")
def _prelu(call: Call, values: Tensor, slope: Tensor) -> Tensor:  # noqa: ARG001
    return torch.where(values < 0, values * slope, values)


@OPERATORS.add("Elu")
def _elu(call: Call, values: Tensor) -> Tensor:
    return functional.elu(values, call.get("alpha", 1.0))


@OPERATORS.add("HardSigmoid")
def _hard_sigmoid(call: Call, values: Tensor) -> Tensor:
    return torch.clamp(call.get("alpha", 0.2) * values + call.get("beta", 0.5), 0, 1)


@OPERATORS.add("HardSwish")
def _hard_swish(call: Call, values: Tensor) -> Tensor:  # noqa: ARG001
    return functional.hardswish(values)


@OPERATORS.add("Gelu")
@OPERATORS.add("Gelu", domain="com.microsoft")
def _gelu(call: Call, values: Tensor) -> Tensor:
    return functional.gelu(values, approximate=call.get("approximate", "none"))


@OPERATORS.add("Clip")
def _clip(
    call: Call, values: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    # Bounds were attributes before opset 11.
    least = call.get("min") if low is None else low.item()
    most = call.get("max") if high is None else high.item()
    return values.clone() if least is None and most is None else values.clamp(least, most)


@OPERATORS.add("Softmax")
def _softmax(call: Call, values: Tensor) -> Tensor:
    return _along(call, values, torch.softmax)


@OPERATORS.add("LogSoftmax")
def _log_softmax(call: Call, values: Tensor) -> Tensor:
    return _along(call, values, torch.log_softmax)


def _along(call: Call, values: Tensor, function: Callable[..., Tensor]) -> Tensor:
    if call.opset >= 13:
        return function(values, dim=call.get("axis", -1))
    # Before opset 13 all dimensions from the axis on counted as one.
    axis = call.get("axis", 1) % values.ndim
    flat = values.reshape(*values.shape[:axis], -1)
    return function(flat, dim=-1).reshape(values.shape)


@OPERATORS.add("Cast")
def _cast(call: Call, values: Tensor) -> Tensor:
    kind = call.get("to")
    if kind in _ROUNDED:
        exact = values.to(torch.float32)
        return straight_through(exact, exact.detach().to(_ROUNDED[kind]).to(torch.float32))
    if kind not in _TYPES:
        raise call.unsupported(f"element type {kind}")
    return values.to(_TYPES[kind])
