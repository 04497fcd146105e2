"""The weight behind a tap, read from an ONNX graph without running it.

From the tap the walk goes back over activation functions, normalisation, pooling and reshaping;
the first layer with a weight on every way must be one and the same. Quantised weights are
dequantised, and batch normalisation right behind the layer scales the rows, so that every form
of one model shows the same weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["TapWeight", "find_weight", "read_weight"]


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


_LAYERS = {
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
# What comes out of these says nothing about the values that went in.
_EXTENTS = {"Shape", "Size"}
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
        scale: Quantisation step, a scalar or one a neuron.
        zero: Zero point, a scalar or one a neuron.
        alpha: Factor of the layer.
        factor: Factor of the batch normalisation right behind the layer.
        variance: Its variance.
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

    def rows(self, tensor: Callable[[str], Tensor]) -> Tensor:
        """The weight as float [neurons, ...], one row a neuron.

        Args:
            tensor: Gives a constant of the graph by its name.
        """
        weight = tensor(self.weight)
        if self.neurons:
            weight = weight.transpose(0, self.neurons)

        def by_row(name: str) -> Tensor:
            value = tensor(name).to(device=weight.device, dtype=torch.float32)
            return value.reshape(-1, *[1] * (weight.ndim - 1))

        if not weight.is_floating_point():
            weight = weight.float()
        if self.zero:
            weight = weight - by_row(self.zero)
        if self.scale:
            weight = weight * by_row(self.scale)
        if self.alpha != 1:
            weight = weight * self.alpha
        if self.variance:
            weight = weight * (by_row(self.variance) + self.epsilon).rsqrt() * by_row(self.factor)
        return weight


def find_weight(model: ModelProto, tap: str) -> TapWeight | None:
    """Finds the weight of the one layer that computes a tensor; None when there is no such one.

    Raises:
        LookupError: A node has too few operands or results.
        ValueError: An attribute cannot be read.
    """
    return _Walk(model).find(tap)


def read_weight(model: ModelProto, tap: str, *, where: str) -> NDArray[np.float32] | None:
    """Reads the weight behind a tensor from a checked model.

    Args:
        model: The model; see `graph.structure.read_model`.
        tap: Name of a tensor.
        where: What to call the model in errors.

    Returns:
        float32 [neurons, ...], or None when no one layer computes the tensor.

    Raises:
        CouldNotCheckError: The weight's constants do not fit together.
    """
    try:
        walk = _Walk(model)
        found = walk.find(tap)
        if found is None:
            return None
        rows = found.rows(lambda name: _tensor(walk.constants[name]))
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CouldNotCheckError(
            f"{where}: the weight behind the tap cannot be read: {error!r:.200}",
            advice="export the model again",
        ) from error
    return rows.float().contiguous().numpy()


class _Walk:
    """One walk from a tensor back to the layer that computes it."""

    def __init__(self, model: ModelProto) -> None:
        self.constants: dict[str, TensorProto] = {
            tensor.name: tensor for tensor in model.graph.initializer
        }
        self._writers: dict[str, NodeProto] = {}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            held = _attributes(node).get("value") if node.op_type == "Constant" else None
            if isinstance(held, TensorProto):
                self.constants[node.output[0]] = held
                continue
            self._writers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

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
            if node is None or node.op_type in _LAYERS:
                sources[name] = node
                continue
            # Only its first output holds the values; the others are their quantisation.
            own = node.op_type == "DynamicQuantizeLinear" and name != node.output[0]
            if own or node.op_type in _EXTENTS:
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
        layer, attributes = _LAYERS[node.op_type], _attributes(node)
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
        return replace(found, scale=scale, zero=zero, alpha=alpha)

    def _constant(self, name: str, neurons: int) -> TapWeight | None:
        """The constant behind a weight operand, over what only changes its form."""
        scale = zero = ""
        passed = set[str]()
        while name not in self.constants:
            node = self._writers.get(name)
            if node is None or name in passed:
                return None
            passed.add(name)
            if node.op_type == "DequantizeLinear":
                if _attributes(node).get("block_size"):
                    return None
                scale, zero = _operand(node, 1), _operand(node, 2)
            elif node.op_type == "QuantizeLinear":
                # A float weight that is quantised and dequantised in the graph is itself.
                scale = zero = ""
            elif node.op_type == "Transpose":
                if _attributes(node).get("perm", [1, 0]) != [1, 0]:
                    return None
                neurons = 1 - neurons
            elif node.op_type not in {"Identity", "Cast"}:
                return None
            name = _operand(node, 0)
        return TapWeight(name, neurons, scale, zero)

    def _integer_scale(self, node: NodeProto) -> str:
        """The weight's step: Cast, then Mul with the product of the data's and the weight's."""
        (product,) = node.output
        for cast in self._readers.get(product, []):
            for scaled in self._readers.get(cast.output[0], []) if cast.op_type == "Cast" else []:
                for name in scaled.input if scaled.op_type == "Mul" else []:
                    writer = self._writers.get(name)
                    steps = writer.input if writer is not None else [name]
                    if name != cast.output[0]:
                        return next((step for step in steps if step in self.constants), "")
        return ""

    def _directly_behind(self, node: NodeProto, layer: str) -> bool:
        name = _operand(node, 0)
        passed = set[str]()
        while name != layer:
            before = self._writers.get(name)
            if before is None or name in passed:
                return False
            passed.add(name)
            rest = [given for given in before.input if given not in self.constants]
            biased = before.op_type == "Add" and len(rest) == 1
            if not biased and before.op_type not in _PASSING:
                return False
            name = rest[0] if rest else ""
        return True

    def _normalised(self, found: TapWeight, node: NodeProto) -> TapWeight:
        factor, variance = _operand(node, 1), _operand(node, 4)
        if factor not in self.constants or variance not in self.constants:
            return found
        epsilon = float(_attributes(node).get("epsilon", 1e-5))
        return replace(found, factor=factor, variance=variance, epsilon=epsilon)


def _operand(node: NodeProto, position: int) -> str:
    return str(node.input[position]) if len(node.input) > position else ""


def _attributes(node: NodeProto) -> Mapping[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _tensor(tensor: TensorProto) -> Tensor:
    value = np.array(numpy_helper.to_array(tensor))
    # Half precision and narrow integers have types that torch or numpy do not know.
    known = value.dtype in (np.float32, np.float64, np.int8, np.uint8, np.int32)
    return torch.from_numpy(value if known else value.astype(np.float32))
