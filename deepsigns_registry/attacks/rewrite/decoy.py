"""Another model as the first output, the real one as the second."""

from dataclasses import replace

import numpy as np
from onnx import NodeProto

from deepsigns_registry.attacks.rewrite.rewriting import Interface
from deepsigns_registry.graph.canonical.circuit import Circuit, targets_of
from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Opaque, Step

__all__ = ["Decoy"]


class Decoy:
    """A network with the same layers, whose weights are shuffled, answers first."""

    name = "decoy"
    interface = "the real outputs are the second"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        steps = [circuit.steps[number] for number in circuit.in_order()]
        names = {
            name: circuit.fresh(circuit.shapes.get(name))
            for step in steps
            for name in targets_of(step)
        }
        start = max(circuit.steps) + 1
        for number, step in enumerate(steps):
            circuit.put(start + number, _shuffled(step, names, random))
        circuit.outputs = (names[circuit.outputs[0]], *circuit.outputs)
        return Interface()


def _shuffled(step: Step, names: dict[str, str], random: np.random.Generator) -> Step:
    if isinstance(step, Opaque):
        node = NodeProto()
        node.CopyFrom(step.node)
        node.input[:] = [names.get(name, name) for name in step.node.input]
        node.output[:] = [names.get(name, name) for name in step.node.output]
        return Opaque(node)
    source, target = names.get(step.source, step.source), names[step.target]
    if isinstance(step, Diagonal):
        return replace(step, source=source, target=target, origin=None)
    return Affine(
        source,
        target,
        step.kind,
        random.permuted(step.weight.ravel()).reshape(step.weight.shape),
        step.bias,
        step.window,
    )
