"""The final softmax or sigmoid of an ONNX classifier, and the logits that it reads."""

from onnx import ModelProto

__all__ = ["logits_of"]

_ENDS = {"Softmax", "Sigmoid"}
_PASSED_OVER = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout"}


def logits_of(model: ModelProto) -> str:
    """Name of the tensor that holds the logits of a file's first output.

    Returns:
        What its final softmax or sigmoid reads, which may be behind operators that only change
        the shape; empty when the file ends otherwise.
    """
    producers = {name: node for node in model.graph.node for name in node.output if name}
    node = producers.get(model.graph.output[0].name)
    seen = 0
    while node is not None and node.op_type in _PASSED_OVER and seen < len(producers):
        node, seen = producers.get(node.input[0]), seen + 1
    if node is None or node.domain not in {"", "ai.onnx"} or node.op_type not in _ENDS:
        return ""
    return str(node.input[0])
