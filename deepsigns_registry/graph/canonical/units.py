"""Units between two layers that have no effect, or the same one: constant, dead and equal ones.

A unit is a channel that one layer computes, that functions of single values and pooling pass on,
and that linear layers read. A constant one goes into their biases, one that nothing weighs is
dropped, and equal ones become one that is weighed by the sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.shapes import attribute_of_node, averages_alike
from deepsigns_registry.graph.canonical.steps import Affine, Kind, Opaque

__all__ = ["Passage", "merge_units", "passage", "resized"]

_HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "Identity", "Dropout"})
_FUNCTIONS = frozenset(
    {
        *_HOMOGENEOUS,
        *("Sigmoid", "Tanh", "Elu", "Selu", "Gelu", "HardSwish", "Mish", "HardSigmoid"),
        *("Softplus", "Softsign", "Celu", "Erf"),
    }
)
_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
_MOST_STEPS, _MOST_READERS = 32, 8
# Two directions of rows, in float32, that are the same; and a weight that cancels.
_SAME, _NOTHING = 1e-5, 1e-6
_MOST_UNITS = 1 << 16
# Values that are compared with each other, of one layer: some seconds.
_MOST_COMPARED = 1 << 28
_MOST_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Passage:
    """What is between a layer and those that read it.

    Attributes:
        readers: Numbers of the steps that read the units.
        paths: The nodes in front of each of them, from the layer on.
        homogeneous: Whether a positive factor passes all of them.
    """

    readers: tuple[int, ...]
    paths: tuple[tuple[NodeProto, ...], ...]
    homogeneous: bool


def merge_units(circuit: Circuit) -> bool:
    """Drops and merges units; see the module.

    Returns:
        Whether anything changed.
    """
    changed = False
    for number in circuit.in_order():
        layer = circuit.steps[number]
        if not isinstance(layer, Affine) or not 2 <= len(layer.weight) <= _MOST_UNITS:
            continue
        between = passage(layer, circuit)
        if between is None:
            continue
        readers = [circuit.steps[reader] for reader in between.readers]
        layers = [reader for reader in readers if isinstance(reader, Affine)]
        with np.errstate(all="ignore"):
            found = _merged(layer, layers, between)
        if found is None:
            continue
        first, rest = found
        circuit.put(number, first)
        for reader, step in zip(between.readers, rest, strict=True):
            circuit.put(reader, step)
        resized(circuit, first)
        changed = True
    return changed


def passage(layer: Affine, circuit: Circuit) -> Passage | None:
    """The layers that read a layer's units, if nothing else does.

    Args:
        layer: A step of the circuit.
        circuit: The graph.
    """
    waiting: list[tuple[str, tuple[NodeProto, ...]]] = [(layer.target, ())]
    readers: list[int] = []
    paths: list[tuple[NodeProto, ...]] = []
    seen = 0
    while waiting:
        name, path = waiting.pop()
        numbers = circuit.readers(name)
        seen += 1
        if name in circuit.outputs or not numbers or seen > _MOST_STEPS:
            return None
        for number in numbers:
            step = circuit.steps[number]
            if isinstance(step, Affine):
                readers.append(number)
                paths.append(path)
            elif isinstance(step, Opaque) and _passes(step.node, circuit):
                waiting.append((step.node.output[0], (*path, step.node)))
            else:
                return None
    if not 1 <= len(readers) <= _MOST_READERS:
        return None
    found = [circuit.steps[number] for number in readers]
    fits = all(
        isinstance(step, Affine)
        and step.weight.shape[1] % len(layer.weight) == 0
        and (step.kind is Kind.TOKENS) == (layer.kind is Kind.TOKENS)
        for step in found
    )
    kinds = {node.op_type for path in paths for node in path}
    if not fits:
        return None
    return Passage(tuple(readers), tuple(paths), kinds <= _HOMOGENEOUS | _POOLS | {"Flatten"})


def _passes(node: NodeProto, circuit: Circuit) -> bool:
    if len(node.output) != 1 or node.domain not in {"", "ai.onnx"}:
        return False
    if node.op_type == "Flatten":
        shape = circuit.shapes.get(node.input[0])
        known = shape is not None and min(shape[1:], default=0) > 0
        return known and attribute_of_node(node, "axis", 1) == 1
    return node.op_type in _FUNCTIONS | _POOLS


def _merged(
    layer: Affine, readers: Sequence[Affine], between: Passage
) -> tuple[Affine, list[Affine]] | None:
    """The layer and those that read it with fewer units; None when there are no fewer."""
    count = len(layer.weight)
    rows = np.concatenate(
        [layer.weight.reshape(count, -1), layer.bias.reshape(-1, 1)], axis=1
    ).astype(np.float64)
    if not np.isfinite(rows).all():
        return None
    owner, scale = _equal_rows(rows, homogeneous=between.homogeneous)
    read = [_added_up(reader, owner, scale, count) for reader in readers]
    weighed = np.zeros(count, np.bool_)
    for blocks in read:
        weighed |= blocks.any((0, 2))
    constant, offsets = _constant_units(rows, readers, between, read)
    kept = np.flatnonzero((owner == np.arange(count)) & weighed & ~constant)
    if len(kept) in {0, count}:
        return None
    kind = layer.weight.dtype
    first = replace(layer, weight=layer.weight[kept], bias=layer.bias[kept], origin=None)
    rest = [
        replace(
            reader,
            weight=blocks[:, kept].reshape(len(blocks), -1, *reader.weight.shape[2:]).astype(kind),
            bias=(reader.bias + offset).astype(kind),
            origin=None,
        )
        for reader, blocks, offset in zip(readers, read, offsets, strict=True)
    ]
    return first, rest


def _constant_units(
    rows: NDArray[np.float64],
    readers: Sequence[Affine],
    between: Passage,
    read: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.bool_], list[NDArray[np.float64]]]:
    """Which units always have one value, and what they add to each reader's bias."""
    constant: NDArray[np.bool_] = np.logical_not(np.any(rows[:, :-1], axis=1))
    offsets = [np.zeros(len(reader.weight)) for reader in readers]
    values = [_value_behind(path, rows[:, -1]) for path in between.paths]
    # At its edges a padded convolution reads zeros instead of the constant.
    exact = all(
        value is not None and not (reader.window.padded and value[constant].any())
        for reader, value in zip(readers, values, strict=True)
    )
    if not constant.any() or not exact:
        return np.zeros(len(rows), np.bool_), offsets
    given = [value for value in values if value is not None]
    return constant, [
        blocks.sum(2)[:, constant] @ value[constant]
        for blocks, value in zip(read, given, strict=True)
    ]


def _value_behind(
    path: Sequence[NodeProto], values: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """What constants are behind nodes; None where that is not known."""
    for node in path:
        if node.op_type == "Relu":
            values = np.maximum(values, 0)
        elif node.op_type == "LeakyRelu":
            slope = float(attribute_of_node(node, "alpha", 0.01))
            values = np.where(values < 0, slope * values, values)
        elif node.op_type == "Tanh":
            values = np.tanh(values)
        elif node.op_type == "Sigmoid":
            values = 1 / (1 + np.exp(-values))
        elif not _keeps(node):
            return None
    return values


def _keeps(node: NodeProto) -> bool:
    """Whether a constant comes out of it as it went in."""
    if node.op_type == "AveragePool":
        return averages_alike(node)
    return node.op_type in _POOLS | {"Flatten", "Identity", "Dropout"}


def _equal_rows(
    rows: NDArray[np.float64], *, homogeneous: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The first unit that each equals, and how many times that one it is.

    Weights are compared with the row's length and biases with each other: a file whose inputs
    are large has small weights beside its biases.
    """
    lengths = np.linalg.norm(rows[:, :-1], axis=1)
    unit = lengths if homogeneous else np.full(len(rows), lengths.max())
    scaled = rows / np.maximum(unit, np.finfo(np.float64).tiny)[:, None]
    weights, biases = scaled[:, :-1], scaled[:, -1]
    slack = _SAME * float(np.median(np.abs(biases)))
    # A projection brings equal rows together, so that few pairs are compared.
    line = weights @ np.cos(np.arange(weights.shape[1]) ** 2)
    order = np.argsort(line, kind="stable")
    owner, scale = np.arange(len(rows)), np.ones(len(rows))
    reach, left = _SAME * rows.shape[1] ** 0.5, _MOST_COMPARED // rows.shape[1]
    ends = np.searchsorted(line[order], line[order] + reach, side="right")
    for place, one in enumerate(order):
        if owner[one] != one or lengths[one] == 0:
            continue
        others = order[place + 1 : ends[place]][:left]
        left -= len(others)
        near = np.abs(biases[others] - biases[one]) <= _SAME * abs(biases[one]) + slack
        others = others[near & (owner[others] == others) & (lengths[others] > 0)]
        equal = others[_close(weights, one, others)]
        owner[equal] = one
        if homogeneous:
            scale[equal] = lengths[equal] / lengths[one]
    return owner, scale


def _close(weights: NDArray[np.float64], one: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some rows have nearly the weights of one row: bool [others]."""
    most = max(1, _MOST_AT_ONCE // weights.shape[1])
    found = np.zeros(len(others), np.bool_)
    for start in range(0, len(others), most):
        part = slice(start, start + most)
        found[part] = np.abs(weights[others[part]] - weights[one]).max(axis=1) <= _SAME
    return found


def _added_up(
    reader: Affine, owner: NDArray[np.int64], scale: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """A reader's weight by units, that of equal ones added up: float64 [outputs, units, block]."""
    blocks = reader.weight.reshape(len(reader.weight), count, -1).astype(np.float64)
    blocks = blocks * scale[None, :, None]
    total, most = np.zeros_like(blocks), np.zeros(count)
    np.add.at(total.swapaxes(0, 1), owner, blocks.swapaxes(0, 1))
    np.maximum.at(most, owner, np.abs(blocks).max((0, 2), initial=0))
    # What is left of weights that cancel is their rounding.
    return np.where(np.abs(total) > _NOTHING * most[None, :, None], total, 0)


def resized(circuit: Circuit, layer: Affine) -> None:
    """Writes down the new number of channels wherever a layer's are passed on.

    Args:
        circuit: The graph.
        layer: One of its steps, with as many rows as it has now.
    """
    waiting = [layer.target]
    axis = -1 if layer.kind is Kind.TOKENS else 1
    while waiting:
        name = waiting.pop()
        shape = circuit.shapes.get(name)
        if shape is not None:
            extents = list(shape)
            extents[axis] = _extent(circuit, name, len(layer.weight))
            circuit.shapes[name] = tuple(extents)
        for number in circuit.readers(name):
            step = circuit.steps[number]
            if isinstance(step, Opaque):
                waiting.append(step.node.output[0])


def _extent(circuit: Circuit, name: str, channels: int) -> int:
    """Channels at a tensor; behind a flattening so many times their positions."""
    step = circuit.written(name)
    while isinstance(step, Opaque):
        node = step.node
        shape = circuit.shapes.get(node.input[0])
        if node.op_type == "Flatten" and shape is not None:
            return prod((channels, *shape[2:]))
        step = circuit.written(node.input[0])
    return channels
