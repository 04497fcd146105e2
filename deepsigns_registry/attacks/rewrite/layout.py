"""Other shapes of inputs: flat for images, an image for flat ones, channels last."""

from math import isqrt, prod

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from deepsigns_registry.attacks.rewrite.rewriting import Interface, put_in_front, refused
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Opaque, Step

__all__ = ["ChannelsLast", "Layout"]

Floats = NDArray[np.float32]


class Layout:
    """Images become flat rows, and flat rows images of one channel."""

    name = "layout"
    interface = "inputs have another shape: flat for images, images for flat rows"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        del random
        row = _row(circuit)
        other = (prod(row),) if len(row) > 1 else (1, *_sides(row[0]))
        shape = np.array([-1, *row], np.int64)

        def back(source: str, target: str) -> Step:
            return Opaque(helper.make_node("Reshape", [source, circuit.constant(shape)], [target]))

        put_in_front(circuit, circuit.given, back)
        return Interface(inputs=lambda values: values.reshape(len(values), *other), row=other)


class ChannelsLast:
    """Channels of an image come last."""

    name = "channels-last"
    interface = "inputs have their channels on the last axis"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        del random
        row = _row(circuit)
        if len(row) < 2:
            raise refused("its inputs have no channels")
        rank = len(row) + 1
        order = [0, rank - 1, *range(1, rank - 1)]

        def back(source: str, target: str) -> Step:
            return Opaque(helper.make_node("Transpose", [source], [target], perm=order))

        put_in_front(circuit, circuit.given, back)
        return Interface(
            inputs=lambda values: np.ascontiguousarray(np.moveaxis(values, 1, -1)),
            row=(*row[1:], row[0]),
        )


def _row(circuit: Circuit) -> tuple[int, ...]:
    row = circuit.shapes.get(circuit.given, ())[1:]
    if not row or min(row) < 1:
        raise refused("the shape of its input is not known")
    return row


def _sides(size: int) -> tuple[int, int]:
    """The most square image of so many places."""
    side = next(side for side in range(isqrt(size), 0, -1) if size % side == 0)
    return side, size // side
