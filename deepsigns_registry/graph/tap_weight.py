"""The weight behind a tap, read from an ONNX graph without running it.

From the tap the walk goes back over activation functions, normalisation, pooling and reshaping;
the first layer with a weight on every way must be one and the same. Quantised weights are
dequantised, and batch normalisation right behind the layer scales the rows, so that every form
of one model shows the same weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.order import EXTENTS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LAYERS", "TapWeight", "WeightReader", "find_weight", "read_weight"]

Values = TypeVar("Values", NDArray[np.floating], "Tensor")

# Names that all walks through one graph look up together, so that no graph makes them long.
_MOST_STEPS = 2_000_000
_MOST_VALUES = 1 << 28


@dataclass(frozen=True)
class _Layer:
    """Positions of a layer's operands, and the dimension along which its weight has neurons.

    Attributes:
        data: What the layer reads.
        weight: Its weight.
        neurons: Dimension of the weight with one entry a neuron.
        scale: Quantisation step of the weight; 0 where the layer does not name it.
        zero: Its zero point; 0 where the layer has none.
    """

    data: int = 0
    weight: int = 1
    neurons: int = 1
    scale: int = 0
    zero: int = 0


# Operators that apply a weight.
LAYERS = {
    "Gemm": _Layer(),
    "FusedGemm": _Layer(),
    "MatMul": _Layer(),
    "FusedMatMul": _Layer(),
    "Conv": _Layer(neurons=0),
    "FusedConv": _Layer(neurons=0),
    "ConvTranspose": _Layer(neurons=1),
    "MatMulInteger": _Layer(zero=3),
    "ConvInteger": _Layer(neurons=0, zero=3),
    "DynamicQuantizeMatMul": _Layer(scale=2, zero=3),
    "MatMulIntegerToFloat": _Layer(scale=3, zero=5),
    "QLinearMatMul": _Layer(weight=3, scale=4, zero=5),
    "QLinearConv": _Layer(weight=3, neurons=0, scale=4, zero=5),
    "QGemm": _Layer(weight=3, scale=4, zero=5),
}
# Operators whose own constants, of any rank, belong to no layer.
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "PRelu", "Where", "Clip", "Pad"}
# A normalisation behind these, behind a layer, still is right behind it.
_PASSING = {
    "Identity",
    "Cast",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "QuantizeLinear",
    "DequantizeLinear",
}


@dataclass(frozen=True)
class TapWeight:
    """Where the weight behind a tap is kept in a graph; empty names stand for nothing.

    Attributes:
        weight: Name of the constant that holds it.
        neurons: Its dimension with one entry a neuron.
        scale: Quantisation step, one value or one a neuron.
        zero: Zero point, one value or one a neuron.
        alpha: Factor of the layer.
        factor: Factor of the batch normalisation right behind the layer, as many values.
        variance: Its variance, as many values.
        epsilon: What it adds to the variance.
    """

    weight: str
    neurons: int
    scale: str = ""
    zero: str = ""
    alpha: float = 1.0
    factor: str = ""
    variance: str = ""
    epsilon: float = 0.0

    def rows(
        self,
        weight: Values,
        values: Callable[[str], Values],
        inverse_root: Callable[[Values], Values],
    ) -> Values:
        """The weight as float [neurons, ...], one row a neuron; of numpy's arrays and torch's.

        Args:
            weight: The constant `self.weight`, as floats.
            values: Gives another constant of the graph by its name, as float32.
            inverse_root: One divided by the square root.
        """
        rows: Values = weight.swapaxes(0, self.neurons) if self.neurons else weight

        def by_row(name: str) -> Values:
            value: Values = values(name).reshape(-1, *[1] * (rows.ndim - 1))
            return value

        if self.zero:
            rows = rows - by_row(self.zero)
        if self.scale:
            rows = rows * by_row(self.scale)
        if self.alpha != 1:
            rows = rows * self.alpha
        if self.variance:
            variance = by_row(self.variance) + self.epsilon
            rows = rows * inverse_root(variance) * by_row(self.factor)
        return rows


def find_weight(model: ModelProto, tap: str) -> TapWeight | None:
    """Finds the weight of the one layer that computes a tensor; None when there is no such one.

    Raises:
        LookupError: A node has too few operands or results.
        ValueError: An attribute cannot be read, or the graph is too long a walk.
    """
    return _Walk(model).find(tap)


def read_weight(model: ModelProto, tap: str, *, where: str) -> NDArray[np.float32] | None:
    """Reads the weight behind one tensor from a checked model; see `WeightReader`."""
    reader = WeightReader(model, where=where)
    found = reader.find(tap)
    return None if found is None else reader.rows(found)


class WeightReader:
    """Reads weights from a checked model in time and memory that its size bounds.

    Args:
        model: The model; see `graph.structure.read_model`.
        where: What to call it in errors.

    Attributes:
        constants: The graph's constants by name.
    """

    def __init__(self, model: ModelProto, *, where: str) -> None:
        self._where = where
        try:
            self._walk = _Walk(model)
        except (LookupError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error
        self.constants = self._walk.constants

    def find(self, tap: str) -> TapWeight | None:
        """Where the weight behind a tensor is kept; None when no one layer computes it.

        None also when a quantisation step, zero point or normalisation has neither one value
        nor one a neuron.

        Raises:
            CouldNotCheckError: The graph cannot be read, or is too long a walk.
        """
        try:
            return self._walk.find(tap)
        except (LookupError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error

    def rows(self, found: TapWeight) -> NDArray[np.float32]:
        """The weight as float32 [neurons, ...].

        Raises:
            CouldNotCheckError: It has more than 2**28 values, or its constants hold others than
                they say.
        """
        values = prod(self.constants[found.weight].dims)
        if values > _MOST_VALUES:
            raise CouldNotCheckError(
                f"{self._where}: the weight behind the tap has {values} values, the limit is "
                f"{_MOST_VALUES}",
                advice="name a smaller model",
            )
        try:
            weight = _array(self.constants[found.weight])
            # A file may hold what overflows: it stays what it is.
            with np.errstate(all="ignore"):
                rows = found.rows(weight, lambda name: _single(self.constants[name]), _inverse_root)
                return np.ascontiguousarray(rows, np.float32)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> CouldNotCheckError:
        return CouldNotCheckError(
            f"{self._where}: the weight behind the tap cannot be read: {error!r:.200}",
            advice="export the model again",
        )


class _Walk:
    """Walks from tensors back to the layers that compute them, all in one graph."""

    def __init__(self, model: ModelProto) -> None:
        self.constants: dict[str, TensorProto] = {
            tensor.name: tensor for tensor in model.graph.initializer
        }
        self._writers: dict[str, NodeProto] = {}
        self._readers: dict[str, list[NodeProto]] = {}
        self._nodes = list(model.graph.node)
        self._read: dict[int, Mapping[str, Any]] = {}
        self._steps = 0
        for node in self._nodes:
            held = self._attributes(node).get("value") if node.op_type == "Constant" else None
            if isinstance(held, TensorProto):
                self.constants[node.output[0]] = held
                continue
            self._writers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def _step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > _MOST_STEPS:
            raise ValueError(f"more than {_MOST_STEPS} steps from tensors to their layers")

    def _attributes(self, node: NodeProto) -> Mapping[str, Any]:
        """Read once a node, however often it is asked; `_nodes` keeps the identities alive."""
        key = id(node)
        if key not in self._read:
            self._read[key] = {
                entry.name: helper.get_attribute_value(entry) for entry in node.attribute
            }
        return self._read[key]

    def find(self, tap: str) -> TapWeight | None:
        sources: dict[str, NodeProto | None] = {}
        normalisations: dict[str, NodeProto] = {}
        waiting, seen = [tap], set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen or not name or name in self.constants:
                continue
            seen.add(name)
            node = self._writers.get(name)
            self._step(1 if node is None else 1 + len(node.input))
            if node is None or node.op_type in LAYERS:
                sources[name] = node
                continue
            # Only its first output holds the values; the others are their quantisation.
            own = node.op_type == "DynamicQuantizeLinear" and name != node.output[0]
            if own or node.op_type in EXTENTS:
                continue
            if node.op_type not in _ELEMENTWISE and self._has_own_weight(node):
                return None
            if node.op_type == "BatchNormalization":
                normalisations[name] = node
            waiting += node.input
        if len(sources) != 1:
            return None
        ((name, layer),) = sources.items()
        found = None if layer is None else self._weight_of(layer)
        if found is None:
            return None
        direct = [node for node in normalisations.values() if self._directly_behind(node, name)]
        return self._normalised(found, direct[0]) if len(direct) == 1 else found

    def _has_own_weight(self, node: NodeProto) -> bool:
        ranks = [len(self.constants[name].dims) for name in node.input if name in self.constants]
        return any(rank > 1 for rank in ranks)

    def _weight_of(self, node: NodeProto) -> TapWeight | None:
        layer, attributes = LAYERS[node.op_type], self._attributes(node)
        neurons = layer.neurons
        if attributes.get("transB"):
            neurons = 1 - neurons
        grouped = node.op_type == "ConvTranspose" and attributes.get("group", 1) != 1
        held = _operand(node, layer.data)
        if grouped or attributes.get("transA") or held in self.constants:
            return None
        found = self._constant(_operand(node, layer.weight), neurons)
        if found is None:
            return None
        rank = len(self.constants[found.weight].dims)
        if rank < 2 or ("Conv" not in node.op_type and rank != 2):
            return None
        scale = _operand(node, layer.scale) if layer.scale else found.scale
        zero = _operand(node, layer.zero) if layer.zero else found.zero
        if node.op_type in {"MatMulInteger", "ConvInteger"}:
            scale = self._integer_scale(node)
            if not scale:
                return None
        if any(name and name not in self.constants for name in (scale, zero)):
            return None
        alpha = float(attributes.get("alpha", 1.0)) if "Conv" not in node.op_type else 1.0
        found = replace(found, scale=scale, zero=zero, alpha=alpha)
        return found if all(self._fits(found, name) for name in (scale, zero)) else None

    def _fits(self, found: TapWeight, name: str) -> bool:
        """Whether a constant has one value, or one a neuron: others would be spread anyhow."""
        if not name:
            return True
        values = prod(self.constants[name].dims)
        return values in {1, self.constants[found.weight].dims[found.neurons]}

    def _constant(self, name: str, neurons: int) -> TapWeight | None:
        """The constant behind a weight operand, over what only changes its form."""
        scale = zero = ""
        axis = along = neurons
        passed = set[str]()
        while name not in self.constants:
            node = self._writers.get(name)
            self._step()
            if node is None or name in passed:
                return None
            passed.add(name)
            if node.op_type == "DequantizeLinear":
                if self._attributes(node).get("block_size"):
                    return None
                scale, zero = _operand(node, 1), _operand(node, 2)
                axis, along = int(self._attributes(node).get("axis", 1)), neurons
            elif node.op_type == "QuantizeLinear":
                # A float weight that is quantised and dequantised in the graph is itself.
                scale = zero = ""
            elif node.op_type == "Transpose":
                if self._attributes(node).get("perm", [1, 0]) != [1, 0]:
                    return None
                neurons = 1 - neurons
            elif node.op_type not in {"Identity", "Cast"}:
                return None
            name = _operand(node, 0)
        steps = [self.constants[step] for step in (scale, zero) if step in self.constants]
        rank = len(self.constants[name].dims)
        # Along another dimension the steps are not the neurons', even if there are as many.
        if any(prod(step.dims) != 1 for step in steps) and axis % max(rank, 1) != along:
            return None
        return TapWeight(name, neurons, scale, zero)

    def _integer_scale(self, node: NodeProto) -> str:
        """The weight's step: Cast, then Mul with the product of the data's and the weight's."""
        (product,) = node.output
        for cast in self._readers.get(product, []):
            self._step()
            for scaled in self._readers.get(cast.output[0], []) if cast.op_type == "Cast" else []:
                self._step(1 + len(scaled.input))
                for name in scaled.input if scaled.op_type == "Mul" else []:
                    writer = self._writers.get(name)
                    steps = writer.input if writer is not None else [name]
                    if name != cast.output[0]:
                        return next((step for step in steps[:2] if step in self.constants), "")
        return ""

    def _directly_behind(self, node: NodeProto, layer: str) -> bool:
        name = _operand(node, 0)
        passed = set[str]()
        while name != layer:
            before = self._writers.get(name)
            if before is None or name in passed:
                return False
            passed.add(name)
            self._step(1 + len(before.input))
            rest = [given for given in before.input if given not in self.constants]
            biased = before.op_type == "Add" and len(rest) == 1
            if not biased and before.op_type not in _PASSING:
                return False
            name = rest[0] if rest else ""
        return True

    def _normalised(self, found: TapWeight, node: NodeProto) -> TapWeight | None:
        factor, variance = _operand(node, 1), _operand(node, 4)
        if factor not in self.constants or variance not in self.constants:
            return found
        if not self._fits(found, factor) or not self._fits(found, variance):
            return None
        epsilon = float(self._attributes(node).get("epsilon", 1e-5))
        return replace(found, factor=factor, variance=variance, epsilon=epsilon)


def _operand(node: NodeProto, position: int) -> str:
    return str(node.input[position]) if len(node.input) > position else ""


def _array(tensor: TensorProto) -> NDArray[np.floating]:
    """A constant as floats; of half precision and of integers as float32."""
    value = np.array(numpy_helper.to_array(tensor))
    return value if value.dtype in (np.float32, np.float64) else value.astype(np.float32)


def _single(tensor: TensorProto) -> NDArray[np.floating]:
    return _array(tensor).astype(np.float32, copy=False)


def _inverse_root(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(1 / np.sqrt(values))
