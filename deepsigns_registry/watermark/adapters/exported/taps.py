"""Which hidden activations of a program can hold a mark, and in which order they are tried."""

from torch.export import ExportedProgram
from torch.fx import Graph, Node

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.choice import (
    ANY_WIDTH,
    Candidate,
    TapChoice,
    Width,
    named,
    neurons_of,
    ordered,
)
from deepsigns_registry.watermark.adapters.exported.interface import check_program
from deepsigns_registry.watermark.adapters.exported.nodes import (
    batch_of,
    is_size,
    layer_of,
    operator,
    origin,
    path_of,
    paths_of,
    rank_of,
    read_by,
    shape_of,
    user_input,
)

__all__ = ["choose_tap", "node_of", "tap_candidates"]

# Operators that apply a weight, with the position of the argument that holds the activation.
_WEIGHTED = {
    "linear": 0,
    "addmm": 1,
    "mm": 0,
    "matmul": 0,
    "conv1d": 0,
    "conv2d": 0,
    "conv3d": 0,
    "convolution": 0,
    "gru": 0,
    "lstm": 0,
    "rnn_tanh": 0,
    "rnn_relu": 0,
}


def choose_tap(
    program: ExportedProgram,
    layer: str = "auto",
    *,
    width: Width = ANY_WIDTH,
) -> TapChoice:
    """Chooses a hidden activation that a layer reads: the last that is wide enough.

    Args:
        program: The model.
        layer: `auto`, or the path of a layer (or name of a graph node) to take as it is.
        width: What the mark needs; see `whitebox.width_needed`.

    Raises:
        UnmarkableError: There is no such layer, no hidden layer at all, or none is wide enough.
    """
    return tap_candidates(program, layer, width=width)[0]


def tap_candidates(
    program: ExportedProgram,
    layer: str = "auto",
    *,
    width: Width = ANY_WIDTH,
) -> tuple[TapChoice, ...]:
    """Every hidden activation that can hold a mark, in order of preference; see `choose_tap`.

    Args:
        program: The model.
        layer: `auto`, or the path of a layer (or name of a graph node), then the only candidate.
        width: What the mark needs; see `whitebox.width_needed`.

    Raises:
        UnmarkableError: There is no such layer, no hidden layer at all, or none is wide enough.
    """
    check_program(program)
    graph = program.graph
    if layer != "auto":
        return (named(layer, neurons_of(shape_of(node_of(graph, layer)) or ())),)
    readers, learned = _readers(program)
    if not readers:
        raise UnmarkableError(
            "no layer with a weight was found", advice="name the tap with layer = '<path>'"
        )
    batch = batch_of(user_input(program))
    hidden = [
        (reader, read)
        for reader, read in reversed(readers)
        if read in learned and rank_of(read) >= 2 and batch_of(read) == batch
    ]
    # Pooling takes (batch, channels, length) for tokens, so that its neurons would be positions.
    hidden = [pair for pair in hidden if not _is_signal(*pair)] or hidden
    candidates = [
        Candidate(_name_of(graph, origin(read)), layer_of(reader), neurons_of(shape_of(read) or ()))
        for reader, read in hidden
    ]
    if not candidates:
        raise UnmarkableError(
            f"the model has no hidden layer: output layer '{layer_of(readers[-1][0])}' reads the "
            "inputs",
            advice="mark a model with a hidden layer",
        )
    return ordered(candidates, width)


def node_of(graph: Graph, tap: str) -> Node:
    """The last node of a module, or the node of that name."""
    nodes: list[Node] = [node for node in graph.nodes if node.op == "call_function"]
    nodes = [node for node in nodes if rank_of(node) >= 2]
    found = [node for node in nodes if tap and tap in paths_of(node)]
    found = found or [node for node in nodes if node.name == tap]
    if not found:
        paths = dict.fromkeys(path_of(node) for node in nodes)
        raise UnmarkableError(
            f"the model has no layer '{tap}'",
            advice=f"choose one of: {', '.join(path for path in paths if path)}",
        )
    return found[-1]


def _name_of(graph: Graph, node: Node) -> str:
    path = path_of(node)
    return path if path and node_of(graph, path) is node else node.name


def _readers(program: ExportedProgram) -> tuple[list[tuple[Node, Node]], set[Node]]:
    """Layers that apply a weight to an activation, and what each reads, in the graph's order.

    Also every node that weights had a part in.
    """
    given = user_input(program)
    weights = set(program.graph_signature.inputs_to_parameters)
    dependent: set[Node] = set()
    learned: set[Node] = set()
    readers = []
    for node in program.graph.nodes:
        above = node.all_input_nodes
        # A size, and the zeros that a recurrence starts at, say nothing of the inputs' values.
        if node is given or (dependent.intersection(above) and not is_size(node)):
            dependent.add(node)
        if node.name in weights or learned.intersection(above):
            learned.add(node)
        position = _WEIGHTED.get(operator(node))
        # A product of two activations, as in attention, applies no weight.
        if position is not None and len(dependent.intersection(above)) == 1:
            read = read_by(node, position)
            if read in dependent:
                readers.append((node, read))
    return readers, learned


def _is_signal(reader: Node, read: Node) -> bool:
    return operator(reader) in {"conv1d", "convolution"} and rank_of(read) == 3
