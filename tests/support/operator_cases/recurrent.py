"""Nodes that are recurrent layers."""

from typing import Any

from hypothesis import strategies as st

from tests.support.operator_cases.case import Array, Case, Cases, Draw, floats

CASES = Cases()
_BATCH, _WIDTH, _HIDDEN = 2, 3, 4


def _layer(draw: Draw, gates: int) -> tuple[list[Array | None], dict[str, Any], int]:
    """Inputs up to the lengths of the rows, attributes, and the number of directions."""
    directions, steps = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    inputs: list[Array | None] = [
        floats(draw, steps, _BATCH, _WIDTH),
        floats(draw, directions, gates * _HIDDEN, _WIDTH),
        floats(draw, directions, gates * _HIDDEN, _HIDDEN),
        floats(draw, directions, 2 * gates * _HIDDEN) if draw(st.booleans()) else None,
        None,
    ]
    direction = "bidirectional" if directions == 2 else "forward"
    return inputs, {"hidden_size": _HIDDEN, "direction": direction}, directions


def _state(draw: Draw, directions: int) -> Array | None:
    return floats(draw, directions, _BATCH, _HIDDEN) if draw(st.booleans()) else None


@CASES.add("GRU")
def _gru(draw: Draw) -> Case:
    inputs, attributes, directions = _layer(draw, 3)
    state = _state(draw, directions)
    return Case([*inputs, state], attributes | {"linear_before_reset": 1}, outputs=2)


@CASES.add("LSTM")
def _lstm(draw: Draw) -> Case:
    inputs, attributes, directions = _layer(draw, 4)
    states = [_state(draw, directions) for _ in range(2)]
    return Case([*inputs, *states], attributes, outputs=3)
