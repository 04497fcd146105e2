"""What a program writes while it runs: into its own buffers, or into the batch that it is given."""

from collections.abc import Iterator
from operator import getitem

from torch.export import ExportedProgram
from torch.fx import Graph, Node

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.exported.nodes import (
    IDENTITIES,
    nested,
    operator,
    output_node,
    result_of,
    user_input,
)

__all__ = ["idle_writes", "writes_its_input"]


def idle_writes(program: ExportedProgram) -> frozenset[str]:
    """Names of the nodes that serve only state which no output depends on, such as a counter.

    A model without them gives the same outputs, and leaves the state as it was.

    Raises:
        UnmarkableError: The outputs depend on state that changes with every run.
    """
    changed = set(program.graph_signature.buffers_to_mutate.values())
    if changed:
        raise _stateful(min(changed))
    graph, given = program.graph, user_input(program)
    storage = _storage(graph)
    kept = [node for node in graph.nodes if node.op == "placeholder" and node is not given]
    idle: set[Node] = set()
    for state in kept:
        if not any(state in storage[target] for node in graph.nodes for target in _written(node)):
            continue
        reached = _reached(graph, state, storage)
        if result_of(graph) in reached or output_node(graph) in reached:
            raise _stateful(program.graph_signature.inputs_to_buffers.get(state.name, state.name))
        idle |= reached - {state}
    return frozenset(node.name for node in idle)


def writes_its_input(program: ExportedProgram) -> bool:
    """Whether a program changes the batch that it is given."""
    given, storage = user_input(program), _storage(program.graph)
    return any(
        given in storage[target] for node in program.graph.nodes for target in _written(node)
    )


def _stateful(name: str) -> UnmarkableError:
    message = "the model's outputs depend on state that changes when it runs"
    advice = "make it the same for every call in evaluation, and register again"
    return UnmarkableError(f"{message} ('{name}')", advice=advice, public=f"{message}; {advice}")


def _written(node: Node) -> Iterator[Node]:
    """The tensors that a node writes into."""
    schema = getattr(node.target, "_schema", None)
    if schema is not None and node.op == "call_function":
        for position, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = node.args[position] if position < len(node.args) else None
                value = node.kwargs.get(argument.name, value)
                yield from _nodes(value)
    for part in nested(node):
        own = [entry for entry in part.graph.nodes if entry.op == "placeholder"]
        storage = _storage(part.graph)
        targets = {
            root for inner in part.graph.nodes for t in _written(inner) for root in storage[t]
        }
        # What is handed to the part are the last arguments, in the order of its own.
        handed = [entry for entry in node.args if isinstance(entry, Node)][-len(own) :]
        yield from (outer for inner, outer in zip(own, handed, strict=False) if inner in targets)


def _storage(graph: Graph) -> dict[Node, set[Node]]:
    """The values in whose memory each value may lie: a view lies in that of what it shows."""
    found: dict[Node, set[Node]] = {}
    for node in graph.nodes:
        found[node] = {root for value in _shared(node) for root in found[value]} or {node}
    return found


def _shared(node: Node) -> Iterator[Node]:
    """The arguments whose memory a node's result may share."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        # What takes one of several results shares it; what computes has memory of its own.
        yield from node.all_input_nodes if node.target is getitem else ()
        return
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None or (position == 0 and operator(node) in IDENTITIES):
            value = node.args[position] if position < len(node.args) else None
            yield from _nodes(node.kwargs.get(argument.name, value))


def _nodes(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _nodes(part)


def _reached(graph: Graph, state: Node, storage: dict[Node, set[Node]]) -> set[Node]:
    """Every node that a value may get to, through what is computed from it and written with it."""
    reached, before = {state}, 0
    while len(reached) > before:
        before = len(reached)
        for node in graph.nodes:
            if not reached.intersection(node.all_input_nodes):
                continue
            reached.add(node)
            for target in _written(node):
                reached |= {other for other in storage if storage[other] & storage[target]}
    return reached
