"""Every layer as two that are added."""

from dataclasses import replace

import numpy as np
from onnx import helper

from deepsigns_registry.attacks.rewrite.rewriting import Interface, layers
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Opaque

__all__ = ["Branches"]


class Branches:
    """Each layer's weight is the sum of a random one and of what is left, in two branches."""

    name = "branches"
    interface = ""

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        for number, layer in layers(circuit):
            kind = layer.weight.dtype
            spread = float(layer.weight.std())
            first = random.normal(0, spread, layer.weight.shape).astype(kind)
            offset = random.normal(0, 0.1, layer.bias.shape).astype(kind)
            shape = circuit.shapes.get(layer.target)
            one, other = circuit.fresh(shape), circuit.fresh(shape)
            circuit.put(
                number,
                Opaque(helper.make_node("Add", [one, other], [layer.target])),
            )
            drawn = replace(layer, target=one, weight=first, bias=offset, origin=None)
            left = replace(
                drawn, target=other, weight=layer.weight - first, bias=layer.bias - offset
            )
            circuit.put(number - 2, drawn)
            circuit.put(number - 1, left)
        return Interface()
