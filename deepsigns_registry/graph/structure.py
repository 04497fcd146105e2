"""Checks on the structure of an ONNX file before anything runs it.

`onnx.checker` accepts unknown operator domains, endless loops and sizes past the end of the file,
and onnxruntime follows hard-linked external data: so these checks come first. What only shows
while running (a graph that doubles a tensor thirty times) is left to the limits of the sandbox.
"""

import os
import stat
from collections.abc import Iterator
from math import prod
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from deepsigns_registry.errors import CouldNotCheckError, NotFoundError
from deepsigns_registry.graph.limits import Limits

__all__ = ["check_model", "read_model"]

_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
# Nodes of this kind hold a compiled program of one accelerator, which nothing here can judge.
_REFUSED_OPERATORS = frozenset({"EPContext", "If", "Loop", "Scan", "SequenceMap"})
# The smallest element types pack four values into a byte, and a varint holds one in a byte.
_ELEMENTS_PER_BYTE = 4


def read_model(path: Path, *, limits: Limits | None = None) -> ModelProto:
    """Reads a model of a kind that may be run in the sandbox; external data is never opened.

    Args:
        path: The file, of unknown origin.
        limits: Bounds on size and counts.

    Returns:
        The model, with every tensor inside it.

    Raises:
        NotFoundError: There is no such file.
        CouldNotCheckError: It is no regular file, has several links, is no ONNX model, keeps
            data outside, or has control flow, local functions, foreign operators or too much of
            anything.
    """
    bounds = limits or Limits()
    content = _read_regular_file(path, bounds.file_bytes)
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        model = ModelProto()
    if not model.HasField("graph") or not model.opset_import:
        raise CouldNotCheckError(
            f"{path}: is no ONNX model, or was cut short", advice="name a complete .onnx file"
        )
    check_model(model, str(path), size=len(content), limits=bounds)
    return model


def check_model(model: ModelProto, where: str, *, size: int, limits: Limits) -> None:
    """Checks a parsed model; see `read_model`.

    Args:
        model: The parsed model.
        where: What to call it in an error.
        size: Bytes it was parsed from.
        limits: Bounds on counts.

    Raises:
        CouldNotCheckError: The first problem found.
    """
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise CouldNotCheckError(
            f"{where}: holds local functions, training graphs or sparse tensors",
            advice="export it again with inlined functions and dense weights",
        )
    for kind, count, most in (
        ("nodes", len(graph.node), limits.nodes),
        ("initializers", len(graph.initializer), limits.initializers),
    ):
        if count > most:
            raise CouldNotCheckError(
                f"{where}: {count} {kind}, the limit is {most}", advice="name a smaller model"
            )
    # What is no UTF-8 comes out as bytes, whatever the declared type.
    if not all(isinstance(name, str) for name in _names(model)):
        raise CouldNotCheckError(
            f"{where}: a name in it is no text, the file is damaged",
            advice="name a complete .onnx file",
        )
    for node in graph.node:
        _check_node(node, where)
    elements = 0
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise CouldNotCheckError(
                f"{where}: keeps weights in another file, which is not opened",
                advice="save the model as one file: onnx.save(onnx.load(FILE), ONE_FILE)",
            )
        if any(extent < 0 for extent in tensor.dims):
            raise CouldNotCheckError(
                f"{where}: a tensor has a negative size", advice="export the model again"
            )
        elements += prod(tensor.dims)
        if elements > _ELEMENTS_PER_BYTE * size:
            raise CouldNotCheckError(
                f"{where}: its tensors claim more values than the file holds",
                advice="name a complete .onnx file",
            )


def _read_regular_file(path: Path, most: int) -> bytes:
    # Opened once, without following a link and without waiting for a pipe's writer; all
    # questions go to the open file, so that nothing can be swapped in between.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file", advice="name an ONNX file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise CouldNotCheckError(
            f"{path}: cannot be opened as a regular file: {reason}",
            advice="name the file itself, not a link",
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CouldNotCheckError(f"{path}: is not a regular file", advice="name an ONNX file")
        if status.st_nlink != 1:
            raise CouldNotCheckError(
                f"{path}: has {status.st_nlink} names (hard links), so others can change it",
                advice="check a copy of it",
            )
        if status.st_size > most:
            raise CouldNotCheckError(
                f"{path}: has {status.st_size} bytes, the limit is {most}",
                advice="name a smaller model",
            )
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def _check_node(node: NodeProto, where: str) -> None:
    if node.domain not in _DOMAINS:
        raise CouldNotCheckError(
            f"{where}: operator {node.op_type} of the foreign domain '{node.domain}'",
            advice="export it with standard ONNX operators",
        )
    has_graph = any(
        attribute.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS}
        or attribute.HasField("g")
        or attribute.graphs
        for attribute in node.attribute
    )
    if node.op_type in _REFUSED_OPERATORS or has_graph:
        raise CouldNotCheckError(
            f"{where}: operator {node.op_type} holds a graph or a program of its own",
            advice="export it without control flow",
        )


def _names(model: ModelProto) -> Iterator[object]:
    graph = model.graph
    yield from (entry.name for entry in graph.input)
    yield from (entry.name for entry in graph.output)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (opset.domain for opset in model.opset_import)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                yield attribute.sparse_tensor.values
                yield attribute.sparse_tensor.indices
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
