"""Nodes that compute with constants alone become constants: a weight may be hidden behind some."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from deepsigns_registry.graph.canonical.shapes import ODD, attribute_of_node

__all__ = ["folded_constants"]

Array = NDArray[np.generic]

# Values that one folded constant may hold, and all of them together; products of matrices.
_MOST_VALUES, _MOST_TOGETHER, _MOST_PRODUCTS = 1 << 26, 1 << 27, 1 << 34


def folded_constants(
    nodes: Sequence[NodeProto], constants: dict[str, Array], kept: Collection[str] = ()
) -> tuple[list[NodeProto], dict[str, Array]]:
    """Computes what depends on constants alone, as far as it is understood and small enough.

    Args:
        nodes: In an order in which they run.
        constants: By name; not changed.
        kept: Names of constants that are wanted even where no node reads them.

    Returns:
        The nodes that are left, and the constants with the new ones, without those that only
        nodes read that are constants now: a file may double one until they fill the memory.
    """
    known, left, held = dict(constants), [], 0
    readers = Counter(name for node in nodes for name in node.input)
    for node in nodes:
        value = None
        if len(node.output) == 1 and all(name in known for name in node.input if name):
            value = _computed(node, [known[name] for name in node.input if name])
        if value is None or (held := held + value.size) > _MOST_TOGETHER:
            left.append(node)
        else:
            known[node.output[0]] = value
            readers.subtract(node.input)
            for name in set(node.input):
                if not readers[name] and name not in kept:
                    known.pop(name, None)
    return left, known


def _computed(node: NodeProto, given: Sequence[Array]) -> Array | None:
    rule = _RULES.get(node.op_type) if node.domain in {"", "ai.onnx"} else None
    if rule is None or not given:
        return None
    try:
        # A file may hold infinities and values that are no numbers; they stay what they are.
        with np.errstate(all="ignore"):
            return rule(node, given)
    except ODD:
        return None


Rule = Callable[[NodeProto, Sequence[Array]], Array | None]


def _pairwise(function: Callable[[Array, Array], Array]) -> Rule:
    def rule(_: NodeProto, given: Sequence[Array]) -> Array | None:
        one, other = given
        if prod(np.broadcast_shapes(one.shape, other.shape)) > _MOST_VALUES:
            return None
        return np.asarray(function(one, other), one.dtype) if one.dtype == other.dtype else None

    return rule


def _product(_: NodeProto, given: Sequence[Array]) -> Array | None:
    one, other = given
    if one.ndim != 2 or other.ndim != 2 or one.dtype != other.dtype:
        return None
    if len(one) * other.shape[1] > _MOST_VALUES:
        return None
    if one.size * other.shape[1] > _MOST_PRODUCTS or not np.issubdtype(one.dtype, np.floating):
        return None
    return np.asarray(one.astype(np.float64) @ other.astype(np.float64), one.dtype)


def _divided(_: NodeProto, given: Sequence[Array]) -> Array | None:
    one, other = given
    if one.dtype != other.dtype or not np.issubdtype(one.dtype, np.floating):
        return None
    if prod(np.broadcast_shapes(one.shape, other.shape)) > _MOST_VALUES:
        return None
    return np.asarray(one.astype(np.float64) / other.astype(np.float64), one.dtype)


def _transposed(node: NodeProto, given: Sequence[Array]) -> Array:
    order = attribute_of_node(node, "perm", None)
    return np.transpose(given[0], None if order is None else list(order))


def _reshaped(_: NodeProto, given: Sequence[Array]) -> Array | None:
    target = [int(extent) for extent in given[1].tolist()]
    return given[0].reshape(target) if 0 not in target else None


def _cast(node: NodeProto, given: Sequence[Array]) -> Array | None:
    wanted = attribute_of_node(node, "to", 0)
    plain = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64}
    if wanted not in plain:
        return None
    return given[0].astype(helper.tensor_dtype_to_np_dtype(wanted))


def _concatenated(node: NodeProto, given: Sequence[Array]) -> Array | None:
    if sum(value.size for value in given) > _MOST_VALUES:
        return None
    return np.concatenate(list(given), axis=attribute_of_node(node, "axis", 0))


def _unsqueezed(_: NodeProto, given: Sequence[Array]) -> Array:
    return np.expand_dims(given[0], tuple(int(axis) for axis in given[1].ravel().tolist()))


def _squeezed(_: NodeProto, given: Sequence[Array]) -> Array:
    return np.squeeze(given[0], tuple(int(axis) for axis in given[1].ravel().tolist()))


def _negated(_: NodeProto, given: Sequence[Array]) -> Array:
    return np.asarray(np.negative(given[0]))


_RULES: dict[str, Rule] = {
    "Add": _pairwise(np.add),
    "Cast": _cast,
    "Concat": _concatenated,
    "Div": _divided,
    "Identity": lambda _, given: given[0],
    "MatMul": _product,
    "Mul": _pairwise(np.multiply),
    "Neg": _negated,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Sub": _pairwise(np.subtract),
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}
