"""The layers of a model, found by structure: the same way for every adapter.

Names differ between an eager module, an exported program and an ONNX graph, and some have
none. What all three share is that torch runs them: so the record that autograd keeps of one
forward pass says which weight multiplies what, and in which order.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Layer", "Layers"]

# A node of autograd's graph; torch gives it no static type that knows the saved tensors.
_Node: TypeAlias = Any

_PRODUCT = re.compile(r"mm|mv|conv|linear", re.IGNORECASE)
_GAIN = re.compile(r"^(Mul|Div|PreluKernel)")


@dataclass(frozen=True, eq=False)
class Layer:
    """A matrix product or convolution of something that depends on the input with a weight.

    Attributes:
        parameters: What only this operation reads: its weight, and its bias if it is added in
            the same operation.
        fan_in: Number of products that are summed into one result.
        hidden: Whether another layer computed what this one reads.
        read: float, what it read; None where torch does not keep it.
        activity: float [neurons], mean absolute value of each neuron that it read; None where
            `read` is.
    """

    parameters: tuple[nn.Parameter, ...]
    fan_in: int
    hidden: bool
    read: Tensor | None
    activity: Tensor | None
    _rows: Tensor | None

    def silencing(self, neurons: Tensor) -> tuple[nn.Parameter, Tensor] | None:
        """What to multiply the weight with so that some neurons are no longer read.

        Args:
            neurons: int64 [n], indices into `activity`.

        Returns:
            The weight, and a mask of zeros and ones of its shape; None when the weight is
            computed from parameters instead of being one.
        """
        rows = self._rows
        if rows is None:
            return None
        for weight in self.parameters:
            if weight.untyped_storage().data_ptr() != rows.untyped_storage().data_ptr():
                continue
            mask = torch.ones_like(weight, memory_format=torch.contiguous_format)
            if not weight.is_contiguous():
                return None
            offset = rows.storage_offset() - weight.storage_offset()
            view = mask.as_strided(rows.shape, rows.stride(), offset)
            view[neurons // rows.shape[1], neurons % rows.shape[1]] = 0
            return weight, mask
        return None


class Layers:
    """The layers of a model, from the output to the input.

    Args:
        model: Any tapped model; run once, in the mode it is in.
        inputs: float32 [batch, ...], on the model's device.

    Attributes:
        layers: All layers, each after those that read it.
        last: Every parameter from the output back to the weight of the last layer: that
            weight, its bias, and what stands behind it. Empty when no weight is in float.
        gains: Parameters that others are multiplied with: of normalisation, slopes of PReLU.
        statistics: Running mean and variance of each batch normalisation, as the model's own
            memory.
        whole: Whether every weight is a parameter; not so in a quantised file.

    Examples:
        >>> from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
        >>> net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        >>> found = Layers(EagerTappedModel(net, "1"), torch.rand(4, 6))
        >>> [(layer.fan_in, layer.hidden) for layer in found.layers]
        [(5, True), (6, False)]
        >>> [tuple(parameter.shape) for parameter in found.last]
        [(3, 5), (3,)]
    """

    def __init__(self, model: TappedModel, inputs: Tensor) -> None:
        probes = inputs.detach().clone().requires_grad_()
        with torch.enable_grad():
            end = model(probes).outputs.grad_fn
        self._known = {id(parameter) for parameter in model.parameters()}
        self._nodes = [] if end is None else _children_first(end)
        self._depends = self._reaching(probes)
        multiplied = [node for node in self._nodes if self._multiplies(node)]
        self._products = [node for node in multiplied if self._has_weight(node)]
        products = {id(node) for node in self._products}
        self.whole = len(products) == len(multiplied)
        self.layers = self._described(products)
        self.last = self._back_to(end, products)
        self.gains = [parameter for node in self._nodes for parameter in self._gains_of(node)]
        self.statistics = [
            (mean, _saved(node, "running_var"))
            for node in self._nodes
            if isinstance(mean := _saved(node, "running_mean"), Tensor)
        ]

    def ending(self, count: int) -> list[nn.Parameter]:
        """Every parameter of the last layers, and of what stands behind them.

        Where branches meet, layers are counted in the order in which the model runs them.

        Args:
            count: How many layers, from 1 to as many as there are.

        Examples:
            >>> from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
            >>> net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
            >>> found = Layers(EagerTappedModel(net, "1"), torch.rand(4, 6)).ending(2)
            >>> sorted(tuple(parameter.shape) for parameter in found)
            [(3,), (3, 5), (5,), (5,), (5,), (5, 6)]
        """
        chosen = {id(node) for node in self._products[-count:]}
        above: set[int] = set()
        found: dict[int, nn.Parameter] = {}
        for node in self._nodes:
            # What depends on one of them comes after it, so that no other layer is among these.
            if id(node) in chosen or any(id(child) in above for child in _children(node)):
                above.add(id(node))
                found |= {id(parameter): parameter for parameter in self._own(node)}
        return list(found.values())

    def _reaching(self, probes: Tensor) -> set[int]:
        reached: set[int] = set()
        for node in self._nodes:
            if getattr(node, "variable", None) is probes or any(
                id(child) in reached for child in _children(node)
            ):
                reached.add(id(node))
        return reached

    def _own(self, node: _Node) -> list[nn.Parameter]:
        """Parameters that enter an operation without having met the input before."""
        if id(node) not in self._depends:
            return []
        found: dict[int, nn.Parameter] = {}
        waiting = [child for child in _children(node) if id(child) not in self._depends]
        while waiting:
            child = waiting.pop()
            variable: Any = getattr(child, "variable", None)
            if id(variable) in self._known:
                found[id(variable)] = variable
            waiting.extend(_children(child))
        return list(found.values())

    def _multiplies(self, node: _Node) -> bool:
        """Whether this is a product of something that depends on the input and something else."""
        factors = sum(id(child) in self._depends for child in _children(node))
        return factors == 1 and _PRODUCT.search(node.name()) is not None

    def _has_weight(self, node: _Node) -> bool:
        return any(parameter.ndim > 1 for parameter in self._own(node))

    def _gains_of(self, node: _Node) -> list[nn.Parameter]:
        if _GAIN.search(node.name()):
            return self._own(node)
        if "Norm" in node.name() and len(node.next_functions) > 1:
            # Normalisation reads the input, its gain and its shift, in this order.
            gain: Any = getattr(node.next_functions[1][0], "variable", None)
            return [gain] if id(gain) in self._known else []
        return []

    def _described(self, products: set[int]) -> list[Layer]:
        above: set[int] = set()
        layers = []
        for node in self._nodes:
            hidden = any(id(child) in above or id(child) in products for child in _children(node))
            if hidden:
                above.add(id(node))
            if id(node) in products:
                layers.append(_layer(node, self._own(node), hidden=hidden))
        return layers[::-1]

    def _back_to(self, end: _Node | None, products: set[int]) -> list[nn.Parameter]:
        found: dict[int, nn.Parameter] = {}
        waiting, seen = [end] if products else [], set()
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            found |= {id(parameter): parameter for parameter in self._own(node)}
            if id(node) not in products:
                waiting.extend(child for child in _children(node) if id(child) in self._depends)
        return list(found.values())


def _layer(node: _Node, parameters: list[nn.Parameter], *, hidden: bool) -> Layer:
    read, rows, fan_in = _operands(node, parameters)
    activity = None
    if read is not None:
        neurons = 1 if read.ndim > 2 else read.ndim - 1
        activity = read.detach().abs().transpose(0, neurons).flatten(1).mean(dim=1)
    return Layer(tuple(parameters), fan_in, hidden, read, activity, rows)


def _operands(
    node: _Node, parameters: list[nn.Parameter]
) -> tuple[Tensor | None, Tensor | None, int]:
    """What was read, the weight as [groups, neurons / groups, ...] in its memory, and fan-in."""
    largest = max(parameters, key=lambda parameter: parameter.numel())
    if node.name().startswith("Convolution"):
        weight, groups = _saved(node, "weight").detach(), _saved(node, "groups")
        parts = weight.unflatten(0, (groups, -1))
        transposed = _saved(node, "transposed")
        rows = parts if transposed else parts.transpose(1, 2)
        fan_in = weight[:, 0].numel() // groups if transposed else weight[0].numel()
        return _saved(node, "input"), rows, fan_in
    left, right = _saved(node, "mat1", _saved(node, "self")), _saved(node, "mat2")
    if not isinstance(left, Tensor) or not isinstance(right, Tensor) or right.ndim != 2:
        return None, None, largest.shape[-2]
    left, right = left.detach(), right.detach()
    storage = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    if left.untyped_storage().data_ptr() in storage:
        left, right = right.T, left.T
    return left, right.unsqueeze(0), right.shape[0]


def _saved(node: _Node, name: str, otherwise: Any = None) -> Any:
    """What autograd kept of an operation; see "Saved tensors" in torch's notes on autograd."""
    return getattr(node, f"_saved_{name}", otherwise)


def _children(node: _Node) -> Iterator[_Node]:
    return (child for child, _ in node.next_functions if child is not None)


def _children_first(end: _Node) -> list[_Node]:
    """Every node of the graph, what it reads before it; without recursion, as graphs are deep."""
    ordered, seen = [], set()
    waiting = [(end, False)]
    while waiting:
        node, expanded = waiting.pop()
        if expanded:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting.extend((child, False) for child in _children(node))
    return ordered
