"""The weight behind a tap, found on the graph that automatic differentiation records.

Each result of a differentiable pass remembers what it was computed from. Walking back from the
tap over activation functions, normalisation, pooling and reshaping, the first layer with a
weight on every way must be one and the same; two (a residual sum) or none is no answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from deepsigns_registry.watermark.adapters.recorded import LEAF, VIEWS, operator, recorded
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Normalisation", "WeightBehind", "find_weight"]

# Layers with a weight: the positions of the operands that hold the data and the weight.
_LAYERS = {"Addmm": (1, 2), "Mm": (0, 1), "Linear": (0, 1), "Convolution": (0, 1)}
# Operators whose own parameters, of any rank, belong to no layer (an embedding of positions).
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div"}
_TRANSPOSES = {"T", "Transpose"}
_NORMALISATION = "NativeBatchNorm"


@dataclass(frozen=True)
class Normalisation:
    """Batch normalisation right behind a layer, which an export folds into the weight.

    Attributes:
        factor: Name of its trainable factor; empty when it has none.
        variance: Name of its running variance.
        epsilon: What is added to the variance.
    """

    factor: str
    variance: str
    epsilon: float


@dataclass(frozen=True)
class WeightBehind:
    """Where the weight behind a tap is kept.

    Attributes:
        weight: Name of the parameter.
        transposed: Whether the neurons stand along its second dimension.
        normalisation: What scales each row, as folded by an export; None without.
    """

    weight: str
    transposed: bool
    normalisation: Normalisation | None = None

    def rows(self, tensor: Callable[[str], Tensor]) -> Tensor:
        """The weight as float [neurons, ...], one row a neuron, differentiable.

        Args:
            tensor: Gives a parameter or buffer of the model by its name.
        """
        weight = tensor(self.weight)
        if self.transposed:
            weight = weight.transpose(0, 1)
        if self.normalisation is None:
            return weight
        scale = (tensor(self.normalisation.variance) + self.normalisation.epsilon).rsqrt()
        if self.normalisation.factor:
            scale = scale * tensor(self.normalisation.factor)
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))


def find_weight(model: TappedModel, row: Sequence[int]) -> WeightBehind | None:
    """Finds the weight of the one layer that computes a model's tap.

    Args:
        model: The model; run once on two rows of zeros, in evaluation, and left as it was.
        row: Shape of one input.

    Returns:
        Where the weight is, or None when no one layer computes the tap.
    """
    run = recorded(model, row)
    found = None if run is None else _walk(run.tap, run.inputs, model)
    if run is None or found is None:
        return None
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    rows = len(tensors[found.weight].transpose(0, 1) if found.transposed else tensors[found.weight])
    return found if rows == run.shape[1] else None


def _walk(start: Any, inputs: Tensor, model: nn.Module) -> WeightBehind | None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    sources, normalisations = set(), []
    waiting, seen = [start], set()
    while waiting:
        node = waiting.pop()
        if node in seen or node is None:
            continue
        seen.add(node)
        kind = operator(node)
        if kind in _LAYERS or (kind == LEAF and node.variable is inputs):
            sources.add(node)
            continue
        leaves = [edge for edge, _ in node.next_functions if _is_parameter(edge, names)]
        if kind not in _ELEMENTWISE and any(leaf.variable.ndim > 1 for leaf in leaves):
            return None
        if kind == _NORMALISATION:
            normalisations.append(node)
        waiting += [edge for edge, _ in node.next_functions if edge not in leaves]
    if len(sources) != 1:
        return None
    (source,) = sources
    return _described(source, normalisations, names, model)


def _described(
    source: Any, normalisations: list[Any], names: dict[int, str], model: nn.Module
) -> WeightBehind | None:
    kind = operator(source)
    if kind not in _LAYERS:
        return None
    data, position = _LAYERS[kind]
    if _is_parameter(source.next_functions[data][0], names):
        return None
    weight, transposed = source.next_functions[position][0], kind in {"Addmm", "Mm"}
    while weight is not None and operator(weight) in _TRANSPOSES:
        transposed, weight = not transposed, weight.next_functions[0][0]
    if not _is_parameter(weight, names):
        return None
    if kind == "Convolution" and source._saved_transposed:  # noqa: SLF001 - torch's own name
        if source._saved_groups != 1:  # noqa: SLF001
            return None
        transposed = True
    buffers = {value.data_ptr(): name for name, value in model.named_buffers()}
    direct = [node for node in normalisations if _without_views(node) is source]
    normalisation = _normalisation(direct[0], names, buffers) if len(direct) == 1 else None
    return WeightBehind(names[id(weight.variable)], transposed, normalisation)


def _without_views(node: Any) -> Any:
    before = node.next_functions[0][0]
    while before is not None and operator(before) in VIEWS:
        before = before.next_functions[0][0]
    return before


def _normalisation(
    node: Any, names: dict[int, str], buffers: dict[int, str]
) -> Normalisation | None:
    variance = node._saved_running_var  # noqa: SLF001 - torch's own name
    if variance is None or variance.data_ptr() not in buffers:
        return None
    factor = node.next_functions[1][0]
    known = names[id(factor.variable)] if _is_parameter(factor, names) else ""
    return Normalisation(known, buffers[variance.data_ptr()], node._saved_eps)  # noqa: SLF001


def _is_parameter(node: Any, names: dict[int, str]) -> bool:
    return node is not None and operator(node) == LEAF and id(node.variable) in names
