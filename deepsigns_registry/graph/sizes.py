"""What running a graph would hold in memory at once, from its declared and inferred sizes.

Nothing is run for it, but ONNX's inference of shapes is a program of its own that reads what a
stranger wrote: it is called in the room where the graph would run.
"""

from collections.abc import Sequence
from math import prod
from pathlib import Path

from onnx import ModelProto, TensorProto, ValueInfoProto, helper, load, shape_inference

__all__ = ["MOST_ROWS", "TooLargeError", "rows_at_once", "without_weights"]

MOST_ROWS = 256
"""How many samples are run at a time where there is room for them."""

# Constants of fewer values stay: they say what is expanded, padded or repeated to which size.
_SHAPE_VALUES = 1 << 10
_WIDEST_VALUE = 8


class TooLargeError(Exception):
    """A graph that would hold more than it may, whatever runs it.

    Attributes:
        needed: How many bytes it would hold at once.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(f"would hold {needed} bytes at once")
        self.needed = needed


def without_weights(model: ModelProto) -> ModelProto:
    """The same graph, with the large ones of its constants as inputs: their sizes remain.

    Args:
        model: The model; not changed.

    Returns:
        A model of a few bytes a node, for `rows_at_once`.
    """
    sizes = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = sizes.graph
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    given = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(entry for entry in model.graph.input if entry.name not in given)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _SHAPE_VALUES:
            graph.initializer.append(tensor)
        else:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return sizes


def rows_at_once(path: Path, row: Sequence[int], most_bytes: int) -> int:
    """How many samples can be run at a time.

    Args:
        path: What `without_weights` left, of unknown origin.
        row: Shape of one sample.
        most_bytes: What may be held at once. A runtime holds more than the values alone, so half
            of it is filled.
        fixed: How many samples the file wants to be run at a time, if it says so.

    Returns:
        Between 1 and `MOST_ROWS`, or `fixed`. Where no sizes can be inferred all that are wanted:
        whoever runs them has bounds of his own.

    Raises:
        TooLargeError: Even the fewest are too many.
    """
    model = load(path)
    declared = [entry.type.tensor_type.shape.dim for entry in model.graph.input[:1]]
    fixed = max(0, next((extents[0].dim_value for extents in declared if extents), 0))
    rows = fixed or MOST_ROWS
    while declared:
        needed = _held_at_once(model, (rows, *row))
        fewest = fixed > 0 or rows == 1
        if needed <= (most_bytes if fewest else most_bytes // 2):
            break
        if fewest:
            raise TooLargeError(needed)
        rows //= 2
    return rows


def _held_at_once(model: ModelProto, shape: Sequence[int]) -> int:
    """The most bytes of values that are written and still read; 0 where nothing is known."""
    sized = ModelProto()
    sized.CopyFrom(model)
    entry = sized.graph.input[0].type.tensor_type
    del entry.shape.dim[:]
    for extent in shape:
        entry.shape.dim.add(dim_value=extent)
    try:
        graph = shape_inference.infer_shapes(sized, data_prop=True).graph
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        return 0
    sizes = {entry.name: _size(entry) for entry in (*graph.value_info, *graph.input, *graph.output)}
    # Weights are there all the time.
    held = sum(sizes[entry.name] for entry in graph.input)
    read_last = {name: place for place, node in enumerate(graph.node) for name in node.input}
    read_last |= {entry.name: len(graph.node) for entry in (*graph.output, *graph.input)}
    most = held
    for place, node in enumerate(graph.node):
        held += sum(sizes.get(name, 0) for name in set(node.output))
        most = max(most, held)
        for name in {*node.input, *node.output}:
            if read_last.get(name, place) == place:
                held -= sizes.get(name, 0)
    return most


def _size(entry: ValueInfoProto) -> int:
    """Bytes of a tensor; 0 where an extent is not known."""
    kind = entry.type.tensor_type
    extents = [extent.dim_value for extent in kind.shape.dim]
    if not kind.HasField("shape") or any(extent <= 0 for extent in extents):
        return 0
    try:
        width = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    except (KeyError, ValueError, TypeError):
        width = _WIDEST_VALUE
    return prod(extents) * (width if kind.elem_type != TensorProto.STRING else _WIDEST_VALUE)
