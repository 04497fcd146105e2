"""An orthogonal matrix behind every layer, and its transpose behind that."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ortho_group

from deepsigns_registry.attacks.rewrite.rewriting import Interface, layers, put_behind
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Affine, Step, Window

__all__ = ["Orthogonal", "pointwise"]

# A matrix of so many channels is drawn in seconds; of more it is made of blocks.
_BLOCK = 512


class Orthogonal:
    """Each layer gives turned channels, and a second one turns them back.

    So no layer of the file has the rows of a layer of the first one.
    """

    name = "orthogonal"
    interface = ""

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        for number, layer in layers(circuit):
            matrix = _orthogonal(len(layer.weight), random)
            _turn(circuit, number, layer, matrix)
        return Interface()


def _turn(circuit: Circuit, number: int, layer: Affine, matrix: NDArray[np.float64]) -> None:
    def back(source: str, target: str) -> Step:
        return pointwise(layer, source, target, matrix.T)

    kind = layer.weight.dtype
    rows = layer.weight.astype(np.float64)
    turned = replace(
        layer,
        weight=np.tensordot(matrix, rows, axes=1).astype(kind),
        bias=(matrix @ layer.bias.astype(np.float64)).astype(kind),
        origin=None,
    )
    circuit.put(number, turned)
    put_behind(circuit, number, back)


def pointwise(like: Affine, source: str, target: str, matrix: NDArray[np.float64]) -> Affine:
    """A layer that maps the channels another one gives, at each place for itself."""
    axes = like.weight.ndim - 2
    kind = like.weight.dtype
    return Affine(
        source,
        target,
        like.kind,
        matrix.reshape(*matrix.shape, *[1] * axes).astype(kind),
        np.zeros(len(matrix), kind),
        Window.plain(axes),
    )


def _orthogonal(size: int, random: np.random.Generator) -> NDArray[np.float64]:
    matrix, start = np.zeros((size, size)), 0
    while start < size:
        # No block of one channel is left, which could only be a sign.
        count = min(_BLOCK, size - start) if size - start != _BLOCK + 1 else _BLOCK + 1
        block = ortho_group.rvs(count, random_state=random)
        matrix[start : start + count, start : start + count] = block
        start += count
    return matrix
