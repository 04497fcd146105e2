"""What of an ONNX graph its first output depends on, and in which order that runs.

Nodes that nothing depends on cost whoever adds them nothing: a branch of somebody's weights that
leads nowhere must not be taken for the network. Everything here takes time linear in the graph,
but for the logarithm of a heap.
"""

import heapq
from collections.abc import Sequence

from onnx import ModelProto, NodeProto

__all__ = ["EXTENTS", "live_nodes", "possible_taps", "sole_tensors"]

# What comes out of these says nothing about the values that went in.
EXTENTS = frozenset({"Shape", "Size"})


def live_nodes(model: ModelProto) -> list[NodeProto]:
    """The nodes that the graph's first output depends on, each behind those that it reads.

    Runtimes accept any order of the nodes; where the file's is a possible one, it is kept.
    Nodes that wait for each other are left out, as no runtime runs them.

    Examples:
        >>> from onnx import TensorProto, helper
        >>> rows = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 4]) for n in "xz"]
        >>> nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
        >>> model = helper.make_model(helper.make_graph(nodes, "g", rows[:1], rows[1:]))
        >>> [node.op_type for node in live_nodes(model)]
        ['Relu', 'Neg']
    """
    nodes = model.graph.node
    writers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    above: dict[int, set[int]] = {}
    waiting = [writers[output.name] for output in model.graph.output[:1] if output.name in writers]
    while waiting:
        place = waiting.pop()
        if place not in above:
            above[place] = {writers[name] for name in nodes[place].input if name in writers}
            waiting += above[place]
    below: dict[int, list[int]] = {}
    for place, places in above.items():
        for other in places:
            below.setdefault(other, []).append(place)
    missing = {place: len(places) for place, places in above.items()}
    ready = [place for place, count in missing.items() if not count]
    heapq.heapify(ready)
    ordered = []
    while ready:
        place = heapq.heappop(ready)
        ordered.append(nodes[place])
        for reader in below.get(place, []):
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    return ordered


def possible_taps(model: ModelProto) -> int:
    """How many tensors of a file could be named as the one that carries a mark, at least 1.

    Examples:
        >>> from onnx import TensorProto, helper
        >>> rows = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 4]) for n in "xz"]
        >>> nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
        >>> model = helper.make_model(helper.make_graph(nodes, "g", rows[:1], rows[1:]))
        >>> possible_taps(model)
        2
    """
    return max(1, sum(len(node.output) for node in model.graph.node))


def sole_tensors(nodes: Sequence[NodeProto], constants: frozenset[str]) -> frozenset[str]:
    """Names of the tensors that everything passes on its way from the input to the output.

    Args:
        nodes: From `live_nodes`: so each leads to the output, and reads what was written before.
        constants: Names of the graph's constants. Every other name that no node writes is an
            input.

    Examples:
        >>> from onnx import TensorProto, helper
        >>> rows = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 4]) for n in "xz"]
        >>> nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
        >>> model = helper.make_model(helper.make_graph(nodes, "g", rows[:1], rows[1:]))
        >>> sorted(sole_tensors(live_nodes(model), frozenset()))
        ['y']
    """
    last: dict[str, int] = {}
    for place, node in enumerate(nodes):
        if node.op_type not in EXTENTS:
            last |= dict.fromkeys(node.input, place)
    written = {name for node in nodes for name in node.output}
    given = {name for name in last if name and name not in written and name not in constants}
    # A tensor written before another and read after it leads to the output past that one.
    reach = max((last[name] for name in given), default=-1)
    sole = set()
    for place, node in enumerate(nodes):
        if node.op_type in EXTENTS or given.isdisjoint(node.input):
            continue
        outputs = [name for name in node.output if name and name in last]
        given.update(outputs)
        if reach <= place and len(outputs) == 1:
            sole.update(outputs)
        reach = max([reach, *(last[name] for name in outputs)])
    return frozenset(sole)
