"""What an ONNX file stores, as torch tensors and plain values."""

from typing import Any

import numpy as np
import torch
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["attribute_of", "tensor_of", "with_constants_hoisted"]


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


def attribute_of(entry: AttributeProto) -> Any:
    """An attribute as a plain value; a tensor as a torch tensor."""
    value: Any = helper.get_attribute_value(entry)
    if isinstance(value, TensorProto):
        return tensor_of(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if isinstance(value, list | tuple) else value


def tensor_of(tensor: TensorProto) -> Tensor:
    """A stored tensor as a torch tensor; half precision as float32."""
    value = np.array(numpy_helper.to_array(tensor))
    if tensor.data_type in {TensorProto.FLOAT16, TensorProto.BFLOAT16}:
        value = value.astype(np.float32)
    return torch.from_numpy(value)
