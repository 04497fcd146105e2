"""A normalisation behind every layer that undoes other scales and offsets."""

from dataclasses import replace

import numpy as np

from deepsigns_registry.attacks.rewrite.rewriting import Interface, layers, put_behind
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Kind, Step

__all__ = ["Normalised"]


class Normalised:
    """Each layer's channels have random factors of both signs, which a step behind takes back."""

    name = "normalised"
    interface = ""

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        for number, layer in layers(circuit):
            _scale(circuit, number, layer, random)
        return Interface()


def _scale(circuit: Circuit, number: int, layer: Affine, random: np.random.Generator) -> None:
    count, kind = len(layer.weight), layer.weight.dtype
    gain = np.exp(random.normal(0, 1, count)) * random.choice([-1, 1], count)
    offset = random.normal(0, 1, count)
    rank = 3 if layer.kind is Kind.TOKENS else layer.weight.ndim
    axis = 2 if layer.kind is Kind.TOKENS else 1

    def back(source: str, target: str) -> Step:
        factor, shift = (1 / gain).astype(kind), (-offset / gain).astype(kind)
        return Diagonal(source, target, axis, rank, factor, shift)

    scaled = layer.weight * gain.reshape(-1, *[1] * (layer.weight.ndim - 1))
    moved = replace(
        layer,
        weight=scaled.astype(kind),
        bias=(layer.bias * gain + offset).astype(kind),
        origin=None,
    )
    circuit.put(number, moved)
    put_behind(circuit, number, back)
