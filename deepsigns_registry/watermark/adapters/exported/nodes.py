"""Questions to the nodes of an exported graph."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

__all__ = [
    "IDENTITIES",
    "batch_of",
    "given",
    "is_size",
    "layer_of",
    "nested",
    "operator",
    "origin",
    "output_node",
    "path_of",
    "paths_of",
    "rank_of",
    "read_by",
    "result_of",
    "shape_of",
    "user_input",
    "with_nested",
]

# In evaluation these give what they read, in another shape or type at most.
IDENTITIES = frozenset(
    {
        *("alias", "clone", "contiguous", "detach", "to", "_to_copy"),
        *("view", "reshape", "flatten", "squeeze", "unsqueeze"),
        *("dropout", "alpha_dropout", "feature_dropout"),
    }
)


def operator(node: Node) -> str:
    """Name of a node's operator, such as `linear`; empty when it is none of torch's."""
    packet = getattr(node.target, "overloadpacket", None)
    return str(getattr(packet, "__name__", ""))


def given(node: Node, argument: str) -> Any:
    """What a node gives its operator as the argument of that name: its value, or the default."""
    schema = getattr(node.target, "_schema", None)
    for position, known in enumerate(() if schema is None else schema.arguments):
        if known.name == argument:
            if position < len(node.args):
                return node.args[position]
            return node.kwargs.get(argument, known.default_value)
    return None


def read_by(node: Node, position: int) -> Node:
    """The tensor that an operator reads at a position."""
    argument = node.args[position]
    assert isinstance(argument, Node)  # noqa: S101 - these operators read a tensor there
    return argument


def nested(node: Node) -> list[GraphModule]:
    """The graphs that a node runs, such as the part of a model that ran under `no_grad`."""
    owner = node.graph.owning_module
    parts = [entry for entry in node.all_input_nodes if entry.op == "get_attr" and owner]
    found = [getattr(owner, str(part.target), None) for part in parts]
    return [part for part in found if isinstance(part, GraphModule)]


def with_nested(graph: Graph) -> Iterator[Node]:
    """Every node of a graph and of the graphs inside it."""
    for node in graph.nodes:
        yield node
        for part in nested(node):
            yield from with_nested(part.graph)


def user_input(program: ExportedProgram) -> Node:
    """The program's one input."""
    (name,) = program.graph_signature.user_inputs
    nodes: list[Node] = [node for node in program.graph.nodes if node.name == name]
    return nodes[0]


def output_node(graph: Graph) -> Node:
    """The node that gives the graph's results."""
    nodes: list[Node] = [node for node in graph.nodes if node.op == "output"]
    return nodes[-1]


def result_of(graph: Graph) -> Node:
    """The one result of a graph."""
    (results,) = output_node(graph).args
    result = results[0] if isinstance(results, tuple | list) else results
    assert isinstance(result, Node)  # noqa: S101 - checked with the program's interface
    return result


def origin(node: Node) -> Node:
    """The node whose value this one only passes on."""
    while operator(node) in IDENTITIES and shape_of(node) == shape_of(read_by(node, 0)):
        node = read_by(node, 0)
    return node


def paths_of(node: Node) -> Iterator[str]:
    """Paths of the modules that a node came from, from the outermost to the innermost."""
    for entry in (node.meta.get("nn_module_stack") or {}).values():
        yield str(entry[0])


def path_of(node: Node) -> str:
    """Path of the innermost module that a node came from; empty for the model itself."""
    return list(paths_of(node))[-1] if node.meta.get("nn_module_stack") else ""


def layer_of(node: Node) -> str:
    """What to call a node's layer: its path, or else the node's own name."""
    return path_of(node) or node.name


def batch_of(node: Node) -> str:
    """How many rows a value has, as an expression of the batch: a product is another one."""
    return str(node.meta["val"].shape[0])


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Shape of a tensor; None of what is none."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else None


def rank_of(node: Node) -> int:
    """Number of dimensions of a float tensor; 0 of anything else."""
    value = node.meta.get("val")
    return value.ndim if isinstance(value, Tensor) and value.is_floating_point() else 0


def is_size(node: Node) -> bool:
    """Whether a node's value is a size, which says nothing of the values in a tensor."""
    return isinstance(node.meta.get("val"), torch.SymInt | int)
