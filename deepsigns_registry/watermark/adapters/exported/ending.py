"""The final softmax or sigmoid of a classifier, and the logits that it reads."""

from torch.export import ExportedProgram
from torch.fx import Node

from deepsigns_registry.watermark.adapters.exported.nodes import (
    IDENTITIES,
    given,
    operator,
    read_by,
    result_of,
    shape_of,
)

__all__ = ["logits_of"]

_SOFTMAX = {"softmax", "_softmax"}
_SIGMOID = {"sigmoid", "sigmoid_", "log_sigmoid"}


def logits_of(program: ExportedProgram) -> Node | None:
    """The node whose values, in the outputs' shape, are the logits that the program ends on.

    Returns:
        What the final softmax or sigmoid reads, which may be behind operators that only change
        the shape; None when the program ends otherwise.
    """
    outputs = result_of(program.graph)
    shape = shape_of(outputs)
    if shape is None or len(shape) != 2:
        return None
    node = outputs
    while operator(node) in IDENTITIES:
        node = read_by(node, 0)
    if operator(node) in _SIGMOID:
        return read_by(node, 0)
    if operator(node) not in _SOFTMAX:
        return None
    own = shape_of(node) or ()
    dimension = int(given(node, "dim")) % len(own)
    # A softmax over something else than the classes of one row has no logits.
    extents = [extent for position, extent in enumerate(own) if position not in {0, dimension}]
    if dimension == 0 or own[dimension] != shape[1] or any(extent != 1 for extent in extents):
        return None
    return read_by(node, 0)
