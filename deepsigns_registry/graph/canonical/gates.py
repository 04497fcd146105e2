"""Gates: what stands beside a network and decides, from the input, whether its values pass.

A gate multiplies the network's values, or chooses between them and others, by something that is
computed from the input past the network. Opened, the graph gives what the network gives whatever
the gate would say: another function, which is the network's own wherever the gate lets pass.
"""

from collections.abc import Collection
from dataclasses import dataclass

from onnx import NodeProto

from deepsigns_registry.graph.canonical.circuit import Circuit, inputs_of, targets_of
from deepsigns_registry.graph.canonical.steps import Affine, Opaque, Step

__all__ = ["Gate", "find_gates", "open_gates"]

_GATING = frozenset({"Mul", "Div", "Min", "Max", "Where"})
# Nodes that are looked at, each in a time linear in the graph.
_MOST_EXAMINED = 64


@dataclass(frozen=True)
class Gate:
    """A node that lets values pass or not.

    Attributes:
        number: Its step's number.
        passed: Name of what it lets pass.
        beside: Names of everything that decides.
    """

    number: int
    passed: str
    beside: frozenset[str]


def find_gates(circuit: Circuit) -> tuple[Gate, ...]:
    """The gates of a graph, in order."""
    found = []
    examined = 0
    for number in circuit.in_order():
        step = circuit.steps[number]
        if not isinstance(step, Opaque) or step.node.op_type not in _GATING:
            continue
        examined += 1
        if examined > _MOST_EXAMINED:
            break
        gate = _gate(number, step.node, circuit)
        if gate is not None:
            found.append(gate)
    return tuple(found)


def open_gates(circuit: Circuit) -> bool:
    """Opens every gate: what it lets pass is passed, and what a closed one adds is left out.

    Returns:
        Whether there was one.
    """
    gates = find_gates(circuit)
    for gate in gates:
        _pass(circuit, gate.number, gate.passed)
    decided = set().union(*(gate.beside for gate in gates)) - {circuit.given}
    for number in circuit.in_order() if gates else ():
        step = circuit.steps[number]
        kept = _kept(step, decided, circuit)
        if kept is not None:
            _pass(circuit, number, kept)
        elif decided.intersection(inputs_of(step)):
            decided.update(targets_of(step))
    return bool(gates)


def _kept(step: Step, decided: Collection[str], circuit: Circuit) -> str | None:
    """Of what a sum adds up the part that no gate decides, where one decides the other."""
    if not isinstance(step, Opaque) or step.node.op_type != "Add" or len(step.node.input) != 2:
        return None
    given, result = step.node.input, circuit.shapes.get(step.node.output[0])
    kept = [name for name in given if name not in decided]
    return kept[0] if len(kept) == 1 and circuit.shapes.get(kept[0]) == result else None


def _pass(circuit: Circuit, number: int, source: str) -> None:
    step = circuit.steps[number]
    if isinstance(step, Opaque):
        node = NodeProto(op_type="Identity", input=[source], output=list(step.node.output))
        circuit.put(number, Opaque(node))


def _gate(number: int, node: NodeProto, circuit: Circuit) -> Gate | None:
    computed = [name for name in node.input if name and name not in circuit.constants]
    if len(node.output) != 1 or not 2 <= len(set(computed)) == len(computed) <= 3:
        return None
    above = {name: _above(circuit, name) for name in computed}
    if any(circuit.given not in names for names in above.values()):
        return None
    values = computed[1:] if node.op_type == "Where" and computed[0] == node.input[0] else computed
    passed = (
        circuit.given
        if circuit.given in values
        else max(values, key=lambda name: _weights(circuit, above[name]))
    )
    if circuit.shapes.get(passed) is None or circuit.shapes.get(passed) != circuit.shapes.get(
        node.output[0]
    ):
        return None
    network = above[passed]
    beside: set[str] = set()
    for name in computed:
        if name == passed:
            continue
        # What is computed of the values themselves is a function of them, as attention to
        # channels is; what shares their layers is a part of the network.
        shared = (network & above[name]) - {circuit.given}
        if passed != circuit.given and (passed in above[name] or _weights(circuit, shared)):
            return None
        beside |= above[name]
    layered = passed == circuit.given or _weights(circuit, network)
    return Gate(number, passed, frozenset(beside)) if layered else None


def _above(circuit: Circuit, name: str) -> frozenset[str]:
    """A tensor and everything that it is computed of, but constants."""
    seen, waiting = {name}, [name]
    while waiting:
        step = circuit.written(waiting.pop())
        for given in inputs_of(step) if step is not None else ():
            if given not in seen and given not in circuit.constants:
                seen.add(given)
                waiting.append(given)
    return frozenset(seen)


def _weights(circuit: Circuit, names: frozenset[str]) -> int:
    """Number of values of all linear layers that give these tensors."""
    steps = (circuit.written(name) for name in names)
    return sum(step.weight.size for step in steps if isinstance(step, Affine))
