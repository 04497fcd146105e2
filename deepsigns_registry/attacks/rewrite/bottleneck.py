"""Every layer as two: the factors of its singular value decomposition."""

from dataclasses import replace

import numpy as np

from deepsigns_registry.attacks.rewrite.orthogonal import pointwise
from deepsigns_registry.attacks.rewrite.rewriting import Interface, layers, put_behind
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Affine, Step

__all__ = ["Bottleneck"]


class Bottleneck:
    """Each layer becomes one with as many channels as its rank, and one that widens them."""

    name = "bottleneck"
    interface = ""

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        for number, layer in layers(circuit):
            _split(circuit, number, layer, random)
        return Interface()


def _split(circuit: Circuit, number: int, layer: Affine, random: np.random.Generator) -> None:
    kind = layer.weight.dtype
    rows = layer.weight.reshape(len(layer.weight), -1).astype(np.float64)
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    factors = np.exp(random.normal(0, 0.5, len(values)))

    def widening(source: str, target: str) -> Step:
        wide = pointwise(layer, source, target, left * (values / factors))
        return replace(wide, bias=layer.bias)

    narrow = (right * factors[:, None]).reshape(-1, *layer.weight.shape[1:])
    circuit.put(
        number,
        replace(layer, weight=narrow.astype(kind), bias=np.zeros(len(narrow), kind), origin=None),
    )
    put_behind(circuit, number, widening)
