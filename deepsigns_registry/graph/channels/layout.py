"""Walking a graph once, and what comes out: groups, and every place that knows of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.channels import elementwise, layers, shapes
from deepsigns_registry.graph.channels.groups import Axis, Freedom, Member, Part, Role
from deepsigns_registry.graph.channels.walk import Count, Normalisation, Rule, Walk
from deepsigns_registry.graph.interpreter import OnnxTappedModel

__all__ = ["Group", "Layout", "channel_layout"]

_RULES: dict[str, Rule] = {**elementwise.RULES, **layers.RULES, **shapes.RULES}
# A small prime, which no reshape confuses with a number of heads or channels.
_BATCH = 5


@dataclass(frozen=True)
class Group:
    """Channels that can be changed.

    Attributes:
        number: Its number in the layout.
        size: Its channels.
        freedom: What may be done to them; always to move them.
    """

    number: int
    size: int
    freedom: Freedom


@dataclass(frozen=True)
class Layout:
    """A graph with its groups of channels.

    Attributes:
        model: The graph; every initializer has one use, nodes are in order.
        groups: The groups that may be changed, by number.
        sizes: Channels of every group, the fixed ones too, by number.
        members: Axes of weights along which there are free groups.
        counts: Places that hold numbers of channels.
        normalisations: Batch normalisations of free groups.
        tensors: The axes of every tensor: for each, the groups along it.
    """

    model: ModelProto
    groups: dict[int, Group]
    sizes: dict[int, int]
    members: list[Member]
    counts: list[Count]
    normalisations: list[Normalisation]
    tensors: dict[str, tuple[Axis, ...]]

    def norms(self, number: int) -> NDArray[np.float64]:
        """Euclidean norms of what computes each channel of a group, biases left out.

        Returns:
            float64 [channels].
        """
        weights = {tensor.name: tensor for tensor in self.model.graph.initializer}
        squares = np.zeros(self.sizes[number])
        for member in self.members:
            value = numpy_helper.to_array(weights[member.weight]).astype(np.float64)
            if member.role is Role.PRODUCES and member.parts == (Part(number),) and value.ndim > 1:
                squares += (
                    (np.moveaxis(value, member.axis, 0) ** 2).reshape(len(squares), -1).sum(1)
                )
        return np.sqrt(squares)


def channel_layout(model: OnnxTappedModel, example: NDArray[np.float32] | None = None) -> Layout:
    """Finds the groups of channels of a graph.

    Args:
        model: The graph's view; it is run once, and not changed.
        example: float32 [samples, ...] inputs; without, the shape that the graph declares is
            used.

    Raises:
        CouldNotCheckError: The graph does not declare its input's shape and there is no
            example, or it does not run.

    Examples:
        >>> from onnx import TensorProto, helper, numpy_helper
        >>> batch = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2])
        >>> result = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])
        >>> first = numpy_helper.from_array(np.ones((2, 4), np.float32), "first")
        >>> second = numpy_helper.from_array(np.ones((4, 3), np.float32), "second")
        >>> nodes = [
        ...     helper.make_node("MatMul", ["input", "first"], ["hidden"]),
        ...     helper.make_node("Tanh", ["hidden"], ["active"]),
        ...     helper.make_node("MatMul", ["active", "second"], ["output"]),
        ... ]
        >>> graph = helper.make_graph(nodes, "graph", [batch], [result], [first, second])
        >>> layout = channel_layout(OnnxTappedModel.from_proto(helper.make_model(graph)))
        >>> [(group.size, Freedom.SCALE in group.freedom) for group in layout.groups.values()]
        [(4, False)]
    """
    graph = _with_single_uses(model.write_back())
    known = _shapes(model, graph, example)
    order = {name: place for place, name in enumerate(known)}
    nodes = sorted(graph.graph.node, key=lambda node: order.get(node.output[0], -1))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    walk = Walk(graph, known)
    tensors = _walked(walk, graph, known)
    return _layout(walk, graph, tensors)


def _walked(
    walk: Walk, graph: ModelProto, known: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[Axis, ...]]:
    source = next(entry.name for entry in graph.graph.input if not walk.is_weight(entry.name))
    walk.put(source, walk.opaque(known[source]))
    for node in graph.graph.node:
        axes = _axes_of(walk, node)
        extents = [walk.groups.extent(axis) for axis in axes or ()]
        if axes is None or extents != list(known[node.output[0]]):
            for name in node.input:
                if name and not walk.is_weight(name):
                    walk.groups.fix(walk.axes(name))
            walk.groups.fix(axes or ())
            for name in node.output:
                walk.put(name, walk.opaque(known.get(name, ())))
        else:
            walk.put(node.output[0], axes)
    for entry in graph.graph.output:
        walk.groups.fix(walk.axes(entry.name))
    return {name: walk.axes(name) for node in graph.graph.node for name in node.output}


def _axes_of(walk: Walk, node: NodeProto) -> list[Axis] | None:
    known = node.domain in {"", "ai.onnx"} and len(node.output) == 1
    rule = _RULES.get(node.op_type) if known else None
    try:
        return None if rule is None else rule(walk, node)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # A stranger's node may be of a form that runs and that no rule thought of.
        return None


def _layout(walk: Walk, graph: ModelProto, tensors: dict[str, tuple[Axis, ...]]) -> Layout:
    groups = walk.groups
    members = [
        Member(member.weight, member.axis, groups.resolved(member.parts), member.role)
        for member in walk.members
        if groups.is_free(member.parts)
    ]
    by_role: dict[Role, set[int]] = {role: set() for role in Role}
    for member in members:
        by_role[member.role].update(part.group for part in member.parts)
    # What no layer computes or none reads is no channel (tokens, positions of an embedding).
    useful = by_role[Role.PRODUCES] & by_role[Role.CONSUMES]
    free = [number for number in sorted(useful) if Freedom.MOVE in groups.freedom(number)]
    resolved = {
        name: tuple(groups.resolved(axis) for axis in axes) for name, axes in tensors.items()
    }
    seen = [axis for axes in resolved.values() for axis in axes]
    seen += [member.parts for member in members]
    return Layout(
        model=graph,
        groups={
            number: Group(number, groups.size(number), groups.freedom(number)) for number in free
        },
        sizes={part.group: groups.size(part.group) for axis in seen for part in axis},
        members=members,
        counts=[
            Count(count.holder, count.position, groups.resolved(count.parts))
            for count in walk.counts
            if groups.is_free(count.parts)
        ],
        normalisations=[
            Normalisation(entry.gain, entry.variance, entry.epsilon, groups.resolved(entry.parts))
            for entry in walk.normalisations
            if groups.is_free(entry.parts)
        ],
        tensors=resolved,
    )


def _with_single_uses(model: ModelProto) -> ModelProto:
    """Gives each use of an initializer its own copy: exporters keep equal weights once."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    taken = set(weights) | {name for node in graph.node for name in node.output}
    taken |= {entry.name for entry in graph.input}
    used: set[str] = set()
    number = len(weights)
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in used:
                while (own := f"w{number}") in taken:
                    number += 1
                taken.add(own)
                copy = graph.initializer.add()
                copy.CopyFrom(weights[name])
                copy.name = own
                node.input[place] = own
            elif name in weights:
                used.add(name)
    declared = [entry for entry in graph.input if entry.name not in weights]
    del graph.input[:]
    graph.input.extend(declared)
    # Shapes that the exporter noted would contradict changed ones.
    del graph.value_info[:]
    return model


def _shapes(
    model: OnnxTappedModel, graph: ModelProto, example: NDArray[np.float32] | None
) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor at one batch size, in the order in which they are computed."""
    entry = graph.graph.input[0].type.tensor_type.shape.dim
    extents = [dimension.dim_value for dimension in entry]
    batch = extents[0] if extents and extents[0] > 0 else _BATCH
    if example is not None and len(example):
        inputs = np.resize(np.asarray(example[:batch], np.float32), (batch, *example.shape[1:]))
    elif extents and all(extent > 0 for extent in extents[1:]):
        inputs = np.zeros((batch, *extents[1:]), np.float32)
    else:
        raise CouldNotCheckError(
            f"{model.where}: does not say which shape its input has",
            advice="give the attack some inputs",
        )
    parameter: Sequence[torch.Tensor] = [*model.parameters(), *model.buffers()]
    device = parameter[0].device if parameter else torch.device("cpu")
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            values = model.tensors(torch.from_numpy(inputs).to(device))
    finally:
        model.train(training)
    return {name: tuple(value.shape) for name, value in values.items() if value is not None}
