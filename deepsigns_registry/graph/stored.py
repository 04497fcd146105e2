"""What an ONNX file stores, as torch tensors and plain values."""

from typing import Any

import numpy as np
import torch
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from torch import Tensor

__all__ = ["attribute_of", "tensor_of"]


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
