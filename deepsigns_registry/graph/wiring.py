"""The layers of an ONNX graph and which channels they share, for `watermark.align`.

The graph is only read, never run: one pass over what its output depends on, with one bound on
the layers and weights, one on the steps of looking for them, and one on the channels that are
passed on. So a stranger's file costs a bounded time. What is no layer passes its channels on:
activation functions, pooling, normalisation, reshaping, attention. Where that is wrong, rows are
not recognised and the alignment says so.
"""

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical import normal_form
from deepsigns_registry.graph.order import live_nodes, sole_tensors
from deepsigns_registry.graph.structure import read_model
from deepsigns_registry.graph.tap_weight import LAYERS, WeightReader
from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor

__all__ = ["parent_blueprint", "read_network", "unread_network"]

# Both sides of these hold the same channels.
_JOINING = frozenset({"Add", "Sum", "Sub", "Mul", "Div", "Max", "Min", "QLinearAdd", "QLinearMul"})
_MOST_LAYERS, _MOST_VALUES = 300, 1 << 28
# Products of two activations and grouped convolutions are examined as layers are.
_MOST_EXAMINED = 3000
# Entries of all lists of channels together; a network of 200 layers that keeps every layer's
# channels for all later ones has 60,000.
_MOST_CHANNELS = 1 << 20

Channels = tuple[int, ...]


def read_network(model: ModelProto, *, where: str) -> Network:
    """Reads the layers of a checked model.

    Args:
        model: The model; see `graph.structure.read_model`.
        where: What to call it in errors.

    Raises:
        CouldNotCheckError: It has too many layers, weights or joined channels, or a weight that
            cannot be read.
    """
    return _Reader(model, where).network()


def unread_network(model: ModelProto) -> Network:
    """Of a checked model whose layers cannot be read what everything passes on its way."""
    constants = frozenset(tensor.name for tensor in model.graph.initializer)
    return Network((), (), sole_tensors(live_nodes(model), constants))


def parent_blueprint(path: Path, tap: str) -> Blueprint:
    """What alignment needs to know of the unmarked parent: layers of its normal form.

    Args:
        path: The parent, exported as the marked model will be.
        tap: Name of the tap's tensor there.

    Returns:
        The blueprint; empty when the parent is built in a way that is not understood.

    Raises:
        CouldNotCheckError: The file cannot be read.
    """
    model, where = read_model(path), str(path)
    normal = normal_form(model, where=where).model
    # A tap in front of its activation function may be no tensor of the normal form.
    return Blueprint.of(read_network(normal, where=where), tap) or Blueprint.of(
        read_network(model, where=where), tap
    )


class _Reader:
    """One pass over a graph."""

    def __init__(self, model: ModelProto, where: str) -> None:
        self._where = where
        self._weights = WeightReader(model, where=where)
        self._nodes = live_nodes(model)
        self._sole = sole_tensors(self._nodes, frozenset(self._weights.constants))
        self._channels: dict[str, Channels] = {}
        self._parents: list[int] = []
        self._widths: list[int] = []
        self._examined = self._values = self._entries = 0
        self._layers: list[tuple[NDArray[np.float32], Channels, int]] = []
        self._tensors: list[tuple[str, int]] = []
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def network(self) -> Network:
        for node in self._nodes:
            is_layer = node.op_type in LAYERS and len(node.output) == 1
            weight = self._weight(node) if is_layer else None
            channels = self._passed(node) if weight is None else self._computed(node, weight)
            for name in node.output[:1]:
                self._channels[name] = channels
                if channels:
                    self._tensors.append((name, len(self._layers)))
        return Network(
            tuple(
                Layer(weight, self._resolved(source), self._root(target))
                for weight, source, target in self._layers
            ),
            tuple(
                Tensor(name, self._resolved(self._channels[name]), after)
                for name, after in self._tensors
            ),
            self._sole,
        )

    def _weight(self, node: NodeProto) -> NDArray[np.float32] | None:
        """Its rows; those of a normalisation right behind it are scaled as that does."""
        self._examined += 1
        groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
        # A grouped convolution mixes few channels, a depthwise one none: it passes them on.
        if groups != 1:
            return None
        name = node.output[0]
        readers = self._readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type == "BatchNormalization":
            name = readers[0].output[0]
        found = self._weights.find(name)
        values = 0 if found is None else prod(self._weights.constants[found.weight].dims)
        self._values += values
        if (
            self._examined > _MOST_EXAMINED
            or self._values > _MOST_VALUES
            or (values and len(self._layers) >= _MOST_LAYERS)
        ):
            raise CouldNotCheckError(
                f"{self._where}: has more than {_MOST_LAYERS} layers or {_MOST_VALUES} weights",
                advice="its tap can be read by name only",
            )
        if found is None or not values:
            return None
        weight = self._weights.rows(found)
        return weight.reshape(len(weight), -1)

    def _computed(self, node: NodeProto, weight: NDArray[np.float32]) -> Channels:
        source = self._channels.get(node.input[0], ())
        self._count(len(source))
        width = sum(self._widths[self._root(group)] for group in source)
        if width == 0 or weight.shape[1] % width:
            source = ()
        self._parents.append(len(self._parents))
        self._widths.append(len(weight))
        target = len(self._parents) - 1
        self._layers.append((weight, source, target))
        return (target,)

    def _passed(self, node: NodeProto) -> Channels:
        given = [found for name in node.input if (found := self._channels.get(name, ()))]
        self._count(sum(len(channels) for channels in given))
        if not given:
            return ()
        if node.op_type in {"Concat", "QLinearConcat"}:
            return tuple(group for channels in given for group in channels)
        if node.op_type in _JOINING:
            for other in given[1:]:
                self._tie(given[0], other)
        # Of a product of two tensors the second is what attention takes its values from.
        return given[-1] if node.op_type in LAYERS else given[0]

    def _count(self, entries: int) -> None:
        self._entries += entries
        if self._entries > _MOST_CHANNELS:
            raise CouldNotCheckError(
                f"{self._where}: joins more than {_MOST_CHANNELS} groups of channels",
                advice="its tap can be read by name only",
            )

    def _tie(self, one: Channels, other: Channels) -> None:
        if [self._width(group) for group in one] == [self._width(group) for group in other]:
            for first, second in zip(one, other, strict=True):
                self._parents[self._root(second)] = self._root(first)

    def _width(self, group: int) -> int:
        return self._widths[self._root(group)]

    def _resolved(self, channels: Sequence[int]) -> Channels:
        return tuple(self._root(group) for group in channels)

    def _root(self, group: int) -> int:
        while self._parents[group] != group:
            self._parents[group] = self._parents[self._parents[group]]
            group = self._parents[group]
        return group
