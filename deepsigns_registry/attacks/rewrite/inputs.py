"""Other ranges of inputs, folded into the first layer where that is exact."""

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.attacks.rewrite.rewriting import Interface, put_in_front, refused
from deepsigns_registry.graph.canonical.chains import fold_chains
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Diagonal, Step

__all__ = ["Inverted", "Scale"]

Floats = NDArray[np.float32]
_LARGEST = 255.0


class Scale:
    """Inputs are 255 times as large as before."""

    name = "scale"
    interface = "inputs are multiplied by 255"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        del random
        _mapped(circuit, 1 / _LARGEST, 0.0)
        return Interface(inputs=lambda values: values * np.float32(_LARGEST))


class Inverted:
    """Inputs are one minus what they were."""

    name = "inverted"
    interface = "inputs are subtracted from 1"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        del random
        _mapped(circuit, -1.0, 1.0)
        return Interface(inputs=lambda values: np.float32(1) - values)


def _mapped(circuit: Circuit, factor: float, shift: float) -> None:
    rank = len(circuit.shapes.get(circuit.given, ()))
    if rank < 2:
        raise refused("the shape of its input is not known")

    def back(source: str, target: str) -> Step:
        one = np.ones(1, np.float32)
        return Diagonal(source, target, 1, rank, one * np.float32(factor), one * np.float32(shift))

    put_in_front(circuit, circuit.given, back)
    fold_chains(circuit)
