"""Forms that inputs are commonly given in by mistake, and how to undo each of them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.example import Comparison

__all__ = ["Change", "possible_changes"]

_CHANNELS = 4
_BYTE = np.float32(255)

Inputs = NDArray[np.float32]


class Change(NamedTuple):
    """One explanation of inputs that do not fit.

    Attributes:
        said: What the inputs look like, in words.
        undo: Gives the inputs that the parent would then expect.
        by_example: Whether rows of the input example stand in the data in this form.
        likely: Whether the input example is at least that much smaller or larger.
    """

    said: str
    undo: Callable[[Inputs], Inputs]
    by_example: bool = False
    likely: bool = False


def possible_changes(inputs: Inputs, compared: Comparison | None) -> list[Change]:
    """The explanations worth trying on these inputs.

    Args:
        inputs: float32 [samples, ...], of the training split.
        compared: What the input example says, if there is one.
    """
    changes = [*_of_example(compared), *_scales(inputs)]
    changes += _orders(inputs.shape[1:])
    return changes


def _of_example(compared: Comparison | None) -> list[Change]:
    if compared is not None and compared.order is not None:
        order = compared.order
        said = "columns are in another order than in the version's input example"
        return [
            Change(
                said, lambda x: x.reshape(len(x), -1)[:, order].reshape(x.shape), by_example=True
            )
        ]
    if compared is None or compared.affine is None:
        return _of_size(compared)
    factor, offset = (np.float32(value) for value in compared.affine)
    size = float(np.abs(offset)) / max(abs(float(factor)), 1e-30)
    if factor < 0:
        said = "values are inverted against those of the input example"
    elif size < 1e-3:
        said = f"values are {_number(float(factor))} times those of the input example"
    elif abs(float(factor) - 1) < 1e-3:
        said = f"values are shifted by {_number(float(offset))} against the input example's"
    else:
        said = (
            f"values are {_number(float(factor))} times those of the input example, plus "
            f"{_number(float(offset))}"
        )
    return [Change(said, lambda x: (x - offset) / factor, by_example=True)]


def _of_size(compared: Comparison | None) -> list[Change]:
    if compared is None or 0.5 < compared.size < 2:
        return []
    size = np.float32(compared.size)
    said = f"values are about {_number(float(size))} times those of the input example"
    return [Change(said, lambda x: x / size, likely=compared.differs)]


def _scales(inputs: Inputs) -> list[Change]:
    low, high = np.float32(inputs.min()), np.float32(inputs.max())
    mean = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = inputs.std(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.where(spread > 0, spread, np.float32(1))
    centre, width = np.float32(inputs.mean(dtype=np.float64)), np.float32(inputs.std() or 1)
    span = high - low if high > low else np.float32(1)
    return [
        Change("values look 255 times too large", lambda x: x / _BYTE),
        Change("values look 255 times too small", lambda x: x * _BYTE),
        Change("values have the wrong sign", lambda x: -x),
        Change("values look inverted", lambda x: low + high - x),
        Change("values look not scaled to the range 0 to 1", lambda x: (x - low) / span),
        Change("values look not standardised", lambda x: (x - centre) / width),
        Change("columns look not standardised", lambda x: (x - mean) / spread),
    ]


def _orders(shape: tuple[int, ...]) -> list[Change]:
    changes = []
    if len(shape) == 1 and shape[0] > 1:
        changes.append(Change("columns look reversed", lambda x: x[:, ::-1]))
    if len(shape) == 3:
        first, middle, last = shape
        for axis, size in ((1, first), (3, last)):
            if 2 <= size <= _CHANNELS:
                changes.append(
                    Change(
                        "channels look reversed (RGB for BGR)",
                        lambda x, axis=axis: np.flip(x, axis),  # type: ignore[misc]
                    )
                )
        if len(set(shape)) > 1:
            said = "the layout looks wrong: channels last were read as channels first"
            changes += [
                Change(said, lambda x: x.reshape(-1, middle, last, first).transpose(0, 3, 1, 2)),
                Change(
                    "the layout looks wrong: channels first were read as channels last",
                    lambda x: x.reshape(-1, last, first, middle).transpose(0, 2, 3, 1),
                ),
            ]
        if middle == last:
            changes.append(Change("rows and columns look exchanged", lambda x: x.swapaxes(2, 3)))
        changes.append(Change("images look upside down", lambda x: x[:, :, ::-1]))
        changes.append(Change("images look mirrored", lambda x: x[:, :, :, ::-1]))
    if len(shape) == 2:
        if shape[0] == shape[1]:
            changes.append(Change("steps and features look exchanged", lambda x: x.swapaxes(1, 2)))
        changes.append(Change("steps look reversed", lambda x: x[:, ::-1]))
        changes.append(Change("features look reversed", lambda x: x[:, :, ::-1]))
    return changes


def _number(value: float) -> str:
    return f"{value:.4g}"
