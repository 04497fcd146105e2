"""Many dummy units at every layer, in pairs whose effects cancel."""

from dataclasses import replace

import numpy as np

from deepsigns_registry.attacks.rewrite.rewriting import Interface, refused
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Affine
from deepsigns_registry.graph.canonical.units import passage, resized

__all__ = ["Dummies"]

# Four times as many dummies as units, as when 2,048 stood beside 512.
_TIMES = 4
_MOST = 1 << 13


class Dummies:
    """Beside the units of a layer stand pairs of equal ones, read with opposite signs."""

    name = "dummies"
    interface = ""

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        changed = False
        for number in circuit.in_order():
            layer = circuit.steps[number]
            if isinstance(layer, Affine) and len(layer.weight) * _TIMES <= _MOST:
                changed |= _widened(circuit, number, layer, random)
        if not changed:
            raise refused("no layer can be widened")
        return Interface()


def _widened(circuit: Circuit, number: int, layer: Affine, random: np.random.Generator) -> bool:
    between = passage(layer, circuit)
    if between is None:
        return False
    count, kind = len(layer.weight), layer.weight.dtype
    pairs = _TIMES * count // 2
    order = random.permutation(count + 2 * pairs)
    rows = random.normal(0, float(layer.weight.std()), (pairs, *layer.weight.shape[1:]))
    biases = random.normal(0, 0.1, pairs)
    for reader in between.readers:
        step = circuit.steps[reader]
        if isinstance(step, Affine):
            blocks = step.weight.reshape(len(step.weight), count, -1)
            drawn = random.normal(
                0, float(step.weight.std()), (len(blocks), pairs, blocks.shape[2])
            )
            added = np.stack([drawn, -drawn], axis=2).reshape(len(blocks), 2 * pairs, -1)
            wide = np.concatenate([blocks, added], axis=1)[:, order]
            weight = wide.reshape(len(blocks), -1, *step.weight.shape[2:]).astype(kind)
            circuit.put(reader, replace(step, weight=weight, origin=None))
    first = replace(
        layer,
        weight=np.concatenate([layer.weight, np.repeat(rows, 2, axis=0)])[order].astype(kind),
        bias=np.concatenate([layer.bias, np.repeat(biases, 2)])[order].astype(kind),
        origin=None,
    )
    circuit.put(number, first)
    resized(circuit, first)
    return True
