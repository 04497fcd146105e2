"""Recurrent layers, GRU and LSTM, by torch's own kernels."""

from typing import TypedDict

import torch
from torch import Tensor

from deepsigns_registry.graph.operators.table import Call, Table

__all__ = ["OPERATORS"]

OPERATORS = Table()

# Which of ONNX's gates stands at each place of torch's weights: (r, z, n) and (i, f, g, o).
_GRU_GATES = (1, 0, 2)
_LSTM_GATES = (0, 2, 3, 1)


@OPERATORS.add("GRU")
def _gru(  # noqa: PLR0917 - the operator's inputs
    call: Call,
    values: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    state: Tensor | None = None,
) -> tuple[Tensor, ...]:
    if not call.get("linear_before_reset"):
        raise call.unsupported("a reset gate before the product")
    _check(call, lengths)
    start = _start(values, recurrence) if state is None else state
    parameters = _parameters(weight, recurrence, bias, _GRU_GATES)
    steps, last = torch.gru(values, start, parameters, **_form(weight))
    return _by_direction(steps, len(weight)), last


@OPERATORS.add("LSTM")
def _lstm(  # noqa: PLR0917 - the operator's inputs
    call: Call,
    values: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    state: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:
    if peepholes is not None or call.get("input_forget"):
        raise call.unsupported("gates that look at the cell, or are coupled")
    _check(call, lengths)
    start = [_start(values, recurrence) if part is None else part for part in (state, cell)]
    parameters = _parameters(weight, recurrence, bias, _LSTM_GATES)
    steps, last, kept = torch.lstm(values, start, parameters, **_form(weight))
    return _by_direction(steps, len(weight)), last, kept


def _check(call: Call, lengths: Tensor | None) -> None:
    if lengths is not None or call.get("layout") or call.get("clip"):
        raise call.unsupported("rows of several lengths, another layout, or clipping")
    if call.get("direction", "forward") == "reverse" or call.get("activations"):
        raise call.unsupported("another direction, or other activation functions")


class _Form(TypedDict):
    has_biases: bool
    num_layers: int
    dropout: float
    train: bool
    bidirectional: bool
    batch_first: bool


def _form(weight: Tensor) -> _Form:
    """One layer, steps first, as ONNX has it; weight is [directions, ...]."""
    return {
        "has_biases": True,
        "num_layers": 1,
        "dropout": 0.0,
        "train": False,
        "bidirectional": len(weight) == 2,
        "batch_first": False,
    }


def _start(values: Tensor, recurrence: Tensor) -> Tensor:
    return values.new_zeros(len(recurrence), values.shape[1], recurrence.shape[2])


def _parameters(
    weight: Tensor, recurrence: Tensor, bias: Tensor | None, gates: tuple[int, ...]
) -> list[Tensor]:
    """Weights [directions, gates * hidden, ...] as torch wants them, one list a direction."""
    found = []
    for direction in range(len(weight)):
        both = (weight.new_zeros(2 * weight.shape[1]) if bias is None else bias[direction]).chunk(2)
        for part in (weight[direction], recurrence[direction], *both):
            blocks = part.chunk(len(gates))
            found.append(torch.cat([blocks[gate] for gate in gates]))
    return found


def _by_direction(steps: Tensor, directions: int) -> Tensor:
    """[steps, batch, directions * hidden] as [steps, directions, batch, hidden]."""
    apart: Tensor = steps.unflatten(2, (directions, -1))
    return apart.transpose(1, 2)
