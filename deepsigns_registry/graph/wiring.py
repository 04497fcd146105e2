"""The layers of an ONNX graph and which channels they share, for `watermark.align`.

The graph is only read, never run, so that a stranger's file costs a bounded time. What is no
layer passes its channels on: activation functions, pooling, normalisation, reshaping, attention.
Where that is wrong, rows are not recognised and the alignment says so.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.structure import read_model
from deepsigns_registry.graph.tap_weight import read_weight
from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor

__all__ = ["parent_blueprint", "read_network"]

_LAYERS = frozenset({
    "Conv", "ConvInteger", "DynamicQuantizeMatMul", "FusedConv", "FusedGemm", "FusedMatMul",
    "Gemm", "MatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm", "QLinearConv",
    "QLinearMatMul",
})  # fmt: skip
# Both sides of these hold the same channels.
_JOINING = frozenset({"Add", "Sum", "Sub", "Mul", "Div", "Max", "Min", "QLinearAdd", "QLinearMul"})
_MOST_LAYERS, _MOST_VALUES = 300, 1 << 28

Channels = tuple[int, ...]


def read_network(model: ModelProto, *, where: str) -> Network:
    """Reads the layers of a checked model.

    Args:
        model: The model; see `graph.structure.read_model`.
        where: What to call it in errors.

    Raises:
        CouldNotCheckError: It has too many layers, or a weight that cannot be read.
    """
    return _Reader(model, where).network()


def parent_blueprint(path: Path, tap: str) -> Blueprint:
    """What alignment needs to know of the unmarked parent.

    Args:
        path: The parent, exported as the marked model will be.
        tap: Name of the tap's tensor there.

    Returns:
        The blueprint; empty when the parent is built in a way that is not understood.

    Raises:
        CouldNotCheckError: The file cannot be read.
    """
    return Blueprint.of(read_network(read_model(path), where=str(path)), tap)


class _Reader:
    """One pass over a graph."""

    def __init__(self, model: ModelProto, where: str) -> None:
        self._model = model
        self._where = where
        self._channels: dict[str, Channels] = {}
        self._parents: list[int] = []
        self._widths: list[int] = []
        self._values = 0
        self._layers: list[tuple[NDArray[np.float32], Channels, int]] = []
        self._tensors: list[tuple[str, int]] = []
        self._readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def network(self) -> Network:
        for node in self._model.graph.node:
            is_layer = node.op_type in _LAYERS and len(node.output) == 1
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
        )

    def _weight(self, node: NodeProto) -> NDArray[np.float32] | None:
        """Its rows; those of a normalisation right behind it are scaled as that does."""
        name = node.output[0]
        readers = self._readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type == "BatchNormalization":
            name = readers[0].output[0]
        weight = read_weight(self._model, name, where=self._where)
        if weight is None or weight.ndim < 2 or not weight.size:
            return None
        groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
        # A grouped convolution mixes few channels, a depthwise one none: it passes them on.
        return None if groups != 1 else weight.reshape(len(weight), -1)

    def _computed(self, node: NodeProto, weight: NDArray[np.float32]) -> Channels:
        self._values += weight.size
        if len(self._layers) >= _MOST_LAYERS or self._values > _MOST_VALUES:
            raise CouldNotCheckError(
                f"{self._where}: has more than {_MOST_LAYERS} layers or {_MOST_VALUES} weights",
                advice="its tap can be read by name only",
            )
        source = self._channels.get(node.input[0], ())
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
        if not given:
            return ()
        if node.op_type in {"Concat", "QLinearConcat"}:
            return tuple(group for channels in given for group in channels)
        if node.op_type in _JOINING:
            for other in given[1:]:
                self._tie(given[0], other)
        # Of a product of two tensors the second is what attention takes its values from.
        return given[-1] if node.op_type in _LAYERS else given[0]

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
