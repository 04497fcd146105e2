"""Constants of an ONNX graph, all in one place."""

from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["with_constants_hoisted"]


def with_constants_hoisted(model: ModelProto) -> ModelProto:
    """Turns Constant nodes into initializers, so that weights kept in them are weights too."""
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = []
    ends = {output.name for output in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "Constant" or not node.output or node.output[0] in ends:
            kept.append(node)
            continue
        tensor = _constant(node)
        tensor.name = node.output[0]
        copy.graph.initializer.append(tensor)
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def _constant(node: NodeProto) -> TensorProto:
    entry = node.attribute[0] if len(node.attribute) == 1 else AttributeProto()
    tensor = TensorProto()
    if entry.name == "value":
        tensor.CopyFrom(entry.t)
        return tensor
    kinds: dict[str, type[np.generic]] = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    if entry.name not in kinds:
        raise CouldNotCheckError(
            f"ONNX operator Constant (node {node.name}): '{entry.name}' is not supported",
            advice="export the model again",
        )
    value: Any = helper.get_attribute_value(entry)
    return numpy_helper.from_array(np.array(value, kinds[entry.name]))
