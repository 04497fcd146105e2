"""What a rewrite of a file is: another graph of the same function, and how it is asked then."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Affine, Opaque, Step

__all__ = [
    "Interface",
    "Rewriting",
    "last_layer",
    "layers",
    "put_behind",
    "put_in_front",
    "refused",
]

Floats = NDArray[np.float32]
# A matrix is made of so many channels at most.
_WIDEST = 4096


def _same(values: Floats) -> Floats:
    return values


@dataclass(frozen=True)
class Interface:
    """How a rewritten file is asked, where that is not as before.

    Attributes:
        inputs: What to give it instead of inputs float32 [samples, ...] of the first file.
        outputs: The first file's outputs, of those that it gives, both float32
            [samples, outputs]; for a decoy the second outputs are meant.
        row: Shape of one sample, where that is another one.
    """

    inputs: Callable[[Floats], Floats] = _same
    outputs: Callable[[Floats], Floats] = _same
    row: tuple[int, ...] | None = None


class Rewriting(Protocol):
    """One kind of rewrite.

    Attributes:
        name: The word behind the colon in `rewrite:orthogonal`.
        interface: What is different for who asks the file, in a few words; empty for nothing.
    """

    name: str
    interface: str

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph.

        Args:
            circuit: The graph; changed in place.
            random: Everything random comes from it.

        Raises:
            CouldNotCheckError: The graph has nothing that can be changed so.
        """
        ...


def refused(what: str) -> CouldNotCheckError:
    """The error for a graph that a rewrite cannot change."""
    return CouldNotCheckError(
        f"attack rewrite: {what}",
        advice="attack the float file as it was exported, neither quantised nor optimised",
    )


def layers(circuit: Circuit) -> list[tuple[int, Affine]]:
    """The linear layers with at least two channels, in order.

    Raises:
        CouldNotCheckError: There is none.
    """
    found = [
        (number, step)
        for number in circuit.in_order()
        if isinstance(step := circuit.steps[number], Affine) and 2 <= len(step.weight) <= _WIDEST
    ]
    if not found:
        raise refused("no linear layer was found")
    return found


def last_layer(circuit: Circuit) -> tuple[int, Affine]:
    """The layer whose channels are the outputs, up to a softmax or sigmoid.

    Raises:
        CouldNotCheckError: There is none.
    """
    name = circuit.outputs[0]
    for _ in range(8):
        number = circuit.writer(name)
        step = None if number is None else circuit.steps[number]
        if number is not None and isinstance(step, Affine):
            return number, step
        if not isinstance(step, Opaque) or step.node.op_type not in {"Identity", "Softmax"}:
            break
        name = str(step.node.input[0])
    raise refused("no linear layer gives the outputs")


def put_in_front(circuit: Circuit, given: str, make: Callable[[str, str], Step]) -> int:
    """Puts a step between the graph's input and all that reads it; its number.

    Args:
        circuit: The graph.
        given: Name of the input.
        make: Makes the step, of the names of what it reads and gives.
    """
    behind = circuit.fresh(circuit.shapes.get(given))
    circuit.redirect(given, behind)
    number = min(circuit.steps, default=0) - 1
    circuit.put(number, make(given, behind))
    return number


def put_behind(circuit: Circuit, number: int, make: Callable[[str, str], Step]) -> None:
    """Puts a step behind another one, which gives its tensor to it.

    Args:
        circuit: The graph.
        number: The step in front.
        make: Makes the step, of the names of what it reads and gives.
    """
    step = circuit.steps[number]
    if isinstance(step, Opaque):
        raise refused("a step is no linear layer")
    between = circuit.fresh(circuit.shapes.get(step.target))
    target = step.target
    circuit.put(number, _giving(step, between))
    circuit.put(number + 1, make(between, target))


def _giving(step: Step, target: str) -> Step:
    if isinstance(step, Opaque):
        node = NodeProto()
        node.CopyFrom(step.node)
        node.output[0] = target
        return Opaque(node)
    return replace(step, target=target, origin=None)
