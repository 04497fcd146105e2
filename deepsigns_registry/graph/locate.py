"""Finding the tap's tensor in an exported graph: by value, because names lie."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from deepsigns_registry.graph.sandbox_child import pool

__all__ = ["equal", "locate_tap", "without_second_output"]

# Largest difference between torch and onnxruntime, relative to the largest value: kernels sum in
# another order. Measured 1e-6 on an MLP and on a CNN.
_TOLERANCE = 1e-4


def locate_tap(
    model: ModelProto, probes: NDArray[np.float32], activation: NDArray[np.float32]
) -> str | None:
    """Finds the hidden tensor whose pooled value is a known activation.

    Exporters fold, rename and drop layers (one keeps the name of a convolution for what its
    batch normalisation gives), so only values are compared. Of several equal tensors the first
    in graph order is taken: the one before pooling and reshaping.

    Args:
        model: An export of our own (it runs in this process, without limits).
        probes: float32 [batch, ...].
        activation: float32 [batch, neurons], pooled, what the model gives for the probes.

    Returns:
        The tensor's name, or None when no tensor has that value.
    """
    every = ModelProto()
    every.CopyFrom(model)
    ends = {output.name for output in model.graph.output}
    hidden = [
        str(name) for node in model.graph.node for name in node.output if name and name not in ends
    ]
    if not hidden:
        return None
    every.graph.output.extend(ValueInfoProto(name=name) for name in hidden)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        every.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = session.run(hidden, {session.get_inputs()[0].name: probes})
    for name, value in zip(hidden, values, strict=True):
        if np.issubdtype(value.dtype, np.floating):
            pooled = pool(value, len(probes))
            if pooled is not None and equal(activation, pooled):
                return name
    return None


def without_second_output(model: ModelProto) -> ModelProto:
    """Copies a model without its second output, and without what only that needed."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    del graph.output[1:]
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    del graph.value_info[:]
    return copy


def equal(expected: NDArray[np.float32], got: NDArray[np.float32]) -> bool:
    """Whether two results are the same but for the order of summation.

    Examples:
        >>> ones = np.ones(3, np.float32)
        >>> equal(ones, ones + np.float32(1e-6)), equal(ones, ones + np.float32(0.1))
        (True, False)
    """
    if expected.shape != got.shape:
        return False
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-6)
    return bool(np.abs(expected - got).max(initial=0.0) <= _TOLERANCE * scale)
