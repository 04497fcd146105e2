"""A graph that rewrites change: its steps in an order in which they run, and who reads what."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Opaque, Step

__all__ = ["Circuit", "Shape", "inputs_of", "renamed", "targets_of"]

# Extents along the axes; -1 for one that is not known, as the batch's.
Shape = tuple[int, ...]

# Products of two numbers that all folding together may cost: about ten seconds of one processor.
_MOST_PRODUCTS = 1 << 36
# Numbers that are left between two steps, for steps that are put there.
_ROOM = 64


class Circuit:
    """The shared view of a graph: each rewrite looks at steps, puts and drops them.

    Args:
        steps: In an order in which they run.
        constants: The tensors that the file holds, by name.
        shapes: Shapes of tensors, as far as they are known.
        outputs: Names of the graph's outputs.
        given: Name of its input.

    Attributes:
        steps: The steps by a number that grows along the graph.
        constants: As given.
        shapes: As given; a rewrite adds what it makes.
        outputs: As given.
        given: As given.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        constants: Mapping[str, NDArray[np.generic]],
        shapes: Mapping[str, Shape],
        outputs: Iterable[str],
        given: str = "",
    ) -> None:
        self.steps: dict[int, Step] = {}
        self.constants = dict(constants)
        self.shapes = dict(shapes)
        self.outputs = tuple(outputs)
        self.given = given
        self._writers: dict[str, int] = {}
        self._readers: dict[str, dict[int, None]] = {}
        self._products = _MOST_PRODUCTS
        self._fresh = 0
        for number, step in enumerate(steps):
            self.put(number * _ROOM, step)

    def put(self, number: int, step: Step) -> None:
        """Puts a step in the place of another one, or of none."""
        self.drop(number)
        self.steps[number] = step
        for name in targets_of(step):
            self._writers[name] = number
        for name in inputs_of(step):
            self._readers.setdefault(name, {})[number] = None

    def drop(self, number: int) -> None:
        """Takes a step out, if it is there."""
        step = self.steps.pop(number, None)
        if step is None:
            return
        for name in targets_of(step):
            if self._writers.get(name) == number:
                del self._writers[name]
        for name in inputs_of(step):
            self._readers[name].pop(number, None)

    def writer(self, name: str) -> int | None:
        """Number of the step that writes a tensor."""
        return self._writers.get(name)

    def written(self, name: str) -> Step | None:
        """The step that writes a tensor."""
        number = self._writers.get(name)
        return None if number is None else self.steps[number]

    def readers(self, name: str) -> tuple[int, ...]:
        """Numbers of the steps that read a tensor."""
        return tuple(self._readers.get(name, ()))

    def is_sole(self, name: str) -> bool:
        """Whether one step reads a tensor, and it is no output of the graph."""
        return len(self._readers.get(name, ())) == 1 and name not in self.outputs

    def in_order(self) -> list[int]:
        """Numbers of all steps, in an order in which they run."""
        return sorted(self.steps)

    def redirect(self, old: str, new: str) -> None:
        """Lets what reads one tensor read another one that stands in front of it."""
        for number in self.readers(old):
            self.put(number, renamed(self.steps[number], {old: new}))

    def affords(self, products: int) -> bool:
        """Whether so many products of two numbers may still be made; they count as made."""
        if products > self._products:
            return False
        self._products -= products
        return True

    def constant(self, value: NDArray[np.generic]) -> str:
        """The name of a new constant."""
        name = self.fresh()
        self.constants[name] = value
        return name

    def fresh(self, shape: Shape | None = None) -> str:
        """A name for a new tensor that nothing in the graph has."""
        taken: tuple[Mapping[str, object], ...] = (
            *(self.shapes, self.constants),
            *(self._writers, self._readers),
        )
        while any((name := f"normal {self._fresh}") in names for names in taken):
            self._fresh += 1
        self._fresh += 1
        if shape is not None:
            self.shapes[name] = shape
        return name


def inputs_of(step: Step) -> tuple[str, ...]:
    """Names of what a step reads; an input that is left out has none."""
    if isinstance(step, Opaque):
        return tuple(str(name) for name in step.node.input if name)
    return (step.source,)


def targets_of(step: Step) -> tuple[str, ...]:
    """Names of what a step writes."""
    if isinstance(step, Opaque):
        return tuple(str(name) for name in step.node.output if name)
    return (step.target,)


def renamed(step: Step, names: Mapping[str, str]) -> Step:
    """A step that reads other tensors."""
    if isinstance(step, Affine):
        return Affine(
            names.get(step.source, step.source),
            step.target,
            step.kind,
            step.weight,
            step.bias,
            step.window,
            _reading(step.origin, names),
        )
    if isinstance(step, Diagonal):
        return Diagonal(
            names.get(step.source, step.source),
            step.target,
            step.axis,
            step.rank,
            step.factor,
            step.shift,
            _reading(step.origin, names),
        )
    node = _reading(step.node, names)
    return step if node is None else Opaque(node)


def _reading(node: NodeProto | None, names: Mapping[str, str]) -> NodeProto | None:
    if node is None:
        return None
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    return copy
