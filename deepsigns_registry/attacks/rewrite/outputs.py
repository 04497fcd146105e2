"""Other outputs: classes in another order, one more, probabilities, another temperature."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from deepsigns_registry.attacks.rewrite.rewriting import Interface, last_layer, refused
from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Opaque

__all__ = ["Classes", "ExtraClass", "Probabilities", "Temperature"]

Floats = NDArray[np.float32]
_COLDER = 10.0
# Below the least logit of any sample by this many times the size of the weights.
_NEVER = -1e4


class Classes:
    """The classes stand in another order."""

    name = "classes"
    interface = "outputs stand in another order"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        number, layer = last_layer(circuit)
        count = len(layer.weight)
        # In a circle, so that none keeps its place.
        around = random.permutation(count)
        order = np.empty(count, np.int64)
        order[around] = np.roll(around, 1)
        changed = replace(layer, weight=layer.weight[order], bias=layer.bias[order], origin=None)
        circuit.put(number, changed)
        back = np.argsort(order)
        return Interface(outputs=lambda values: values[:, back])


class ExtraClass:
    """There is one more class, which never wins."""

    name = "extra-class"
    interface = "there is one more output, the last"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        number, layer = last_layer(circuit)
        kind = layer.weight.dtype
        row = random.normal(0, 1e-3, (1, *layer.weight.shape[1:])).astype(kind)
        changed = replace(
            layer,
            weight=np.concatenate([layer.weight, row]),
            bias=np.concatenate([layer.bias, np.full(1, _NEVER, kind)]),
            origin=None,
        )
        circuit.put(number, changed)
        return Interface(outputs=lambda values: values[:, :-1])


class Probabilities:
    """A softmax stands behind the outputs."""

    name = "probabilities"
    interface = "outputs are probabilities"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        del random
        name = circuit.outputs[0]
        number = circuit.writer(name)
        step = None if number is None else circuit.steps[number]
        if number is None or (isinstance(step, Opaque) and step.node.op_type == "Softmax"):
            raise refused("its outputs are probabilities already")
        behind = circuit.fresh(circuit.shapes.get(name))
        last = max(circuit.steps) + 1
        circuit.put(last, Opaque(helper.make_node("Softmax", [name], [behind], axis=-1)))
        circuit.outputs = (behind, *circuit.outputs[1:])

        def logits(values: Floats) -> Floats:
            return np.asarray(np.log(np.maximum(values, 1e-30)), np.float32)

        return Interface(outputs=logits)


class Temperature:
    """Logits are a tenth of what they were."""

    name = "temperature"
    interface = "outputs are divided by 10"

    def rewrite(self, circuit: Circuit, random: np.random.Generator) -> Interface:
        """Changes a graph; see `Rewriting.rewrite`."""
        del random
        number, layer = last_layer(circuit)
        colder = np.asarray(_COLDER, layer.weight.dtype)
        changed = replace(
            layer, weight=layer.weight / colder, bias=layer.bias / colder, origin=None
        )
        circuit.put(number, changed)
        return Interface(outputs=lambda values: values * np.float32(_COLDER))
