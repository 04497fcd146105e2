"""One type of numbers in a file whose inputs are of single precision.

Half and double precision inside change how results are rounded, and keep two maps from being one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from deepsigns_registry.graph.canonical.shapes import ELEMENTWISE, attribute_of_node

__all__ = ["in_single_precision"]

Array = NDArray[np.generic]
_OTHERS = frozenset({TensorProto.DOUBLE, TensorProto.FLOAT16})
# What these give is of the type of what they read.
_FLOATING = ELEMENTWISE | {
    *("Gemm", "MatMul", "Conv", "BatchNormalization", "MaxPool", "AveragePool"),
    *("GlobalAveragePool", "GlobalMaxPool", "Softmax", "LayerNormalization"),
}
_FOLLOWING = frozenset({"Add", "Sub", "Mul", "Div", "Flatten", "Reshape", "Transpose", "Concat"})


def in_single_precision(
    model: ModelProto, nodes: Sequence[NodeProto], constants: Mapping[str, Array]
) -> tuple[list[NodeProto], dict[str, Array]]:
    """Makes half and double precision inside a graph single.

    Args:
        model: The graph, for the type of its inputs: of another one, nothing changes.
        nodes: Its nodes in an order in which they run.
        constants: By name; not changed.

    Returns:
        The nodes, casts between floating types being identities, and the constants.
    """
    given = {
        entry.name: entry.type.tensor_type.elem_type
        for entry in model.graph.input
        if entry.name not in constants
    }
    casts = any(node.op_type == "Cast" for node in nodes)
    kinds = {entry.type.tensor_type.elem_type for entry in model.graph.output[:1]}
    if not casts or set(given.values()) != {TensorProto.FLOAT} or kinds & _OTHERS:
        return list(nodes), dict(constants)
    floating, found = set(given), []
    for node in nodes:
        changed = node
        if node.op_type == "Cast" and attribute_of_node(node, "to", 0) in _OTHERS | {
            TensorProto.FLOAT
        }:
            changed = NodeProto()
            changed.CopyFrom(node)
            if node.input[0] in floating:
                changed.op_type = "Identity"
                del changed.attribute[:]
            else:
                changed.attribute[0].i = TensorProto.FLOAT
            floating.update(node.output)
        elif node.op_type in _FLOATING or (
            node.op_type in _FOLLOWING and floating.intersection(node.input)
        ):
            floating.update(node.output)
        found.append(changed)
    single = {
        name: value.astype(np.float32) if value.dtype in (np.float16, np.float64) else value
        for name, value in constants.items()
    }
    return found, single
