"""Checks on the structure of an ONNX file before anything runs it.

`onnx.checker` accepts unknown operator domains, endless loops and sizes past the end of the file,
and onnxruntime follows hard-linked external data: so these checks come first. What only shows
while running (a graph that doubles a tensor thirty times) is left to the limits of the sandbox.
"""

import os
import stat
from collections.abc import Iterator
from functools import cache
from math import prod
from pathlib import Path

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from deepsigns_registry.errors import CouldNotCheckError, NotFoundError
from deepsigns_registry.graph.limits import Limits

__all__ = ["check_model", "parse_model", "read_file", "read_model"]

_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
# Nodes of this kind hold a compiled program of one accelerator, which nothing here can judge.
_REFUSED_OPERATORS = frozenset({"EPContext", "If", "Loop", "Scan", "SequenceMap"})
# The smallest element types pack four values into a byte, and a varint holds one in a byte.
_ELEMENTS_PER_BYTE = 4
# numpy has no more; and the product of a million extents takes longer than the file is worth.
_MOST_AXES = 64
# Of a graph of as many nodes as are allowed, with a few dozen attributes each.
_MOST_MESSAGES = 2_000_000


def read_model(path: Path, *, limits: Limits | None = None) -> ModelProto:
    """Reads a model of a kind that may be run in the sandbox; external data is never opened.

    Args:
        path: The file, of unknown origin.
        limits: Bounds on size and counts.

    Returns:
        The model, with every tensor inside it.

    Raises:
        NotFoundError: There is no such file.
        CouldNotCheckError: See `read_file` and `parse_model`.
    """
    return parse_model(read_file(path, limits=limits), str(path), limits=limits)


def parse_model(content: bytes, where: str, *, limits: Limits | None = None) -> ModelProto:
    """Makes a model of the bytes of a file that was read; see `read_model`.

    Args:
        content: All of the file.
        where: What to call it in an error.
        limits: Bounds on counts.

    Raises:
        CouldNotCheckError: It is no ONNX model, keeps data outside, or has control flow, local
            functions, foreign operators or too much of anything.
    """
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        model = ModelProto()
    if not model.HasField("graph") or not model.opset_import:
        raise CouldNotCheckError(
            f"{where}: is no ONNX model, or was cut short", advice="name a complete .onnx file"
        )
    check_model(model, where, size=len(content), limits=limits or Limits())
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
    holders = list(_holders_of_data(model, where))
    # What is no UTF-8 comes out as bytes, whatever the declared type.
    if not all(isinstance(name, str) for name in _names(model)):
        raise CouldNotCheckError(
            f"{where}: a name in it is no text, the file is damaged",
            advice="name a complete .onnx file",
        )
    for node in graph.node:
        _check_node(node, where)
    elements = 0
    for message in holders:
        if isinstance(message, SparseTensorProto):
            raise CouldNotCheckError(
                f"{where}: holds sparse tensors", advice="export it again with dense weights"
            )
        if not isinstance(message, TensorProto):
            continue
        _check_tensor(message, where)
        elements += prod(message.dims)
        if elements > _ELEMENTS_PER_BYTE * size:
            raise CouldNotCheckError(
                f"{where}: its tensors claim more values than the file holds",
                advice="name a complete .onnx file",
            )


def _check_tensor(tensor: TensorProto, where: str) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise CouldNotCheckError(
            f"{where}: keeps weights in another file, which is not opened",
            advice="save the model as one file: onnx.save(onnx.load(FILE), ONE_FILE)",
        )
    if any(extent < 0 for extent in tensor.dims):
        raise CouldNotCheckError(
            f"{where}: a tensor has a negative size", advice="export the model again"
        )
    if len(tensor.dims) > _MOST_AXES:
        raise CouldNotCheckError(
            f"{where}: a tensor has {len(tensor.dims)} axes, the limit is {_MOST_AXES}",
            advice="export the model again",
        )


def read_file(path: Path, *, limits: Limits | None = None) -> bytes:
    """Reads a file once: whoever hashes and reads these bytes speaks of one file.

    Args:
        path: The file, of unknown origin; links to it are followed, since deployments are often
            switched by one.
        limits: Bounds on its size.

    Raises:
        NotFoundError: There is no such file.
        CouldNotCheckError: It is no regular file, is too large or cannot be read.
    """
    most = (limits or Limits()).file_bytes
    # Opened once and without waiting for a pipe's writer; all questions go to the open file, so
    # that nothing can be swapped in between.
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file", advice="name an ONNX file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise CouldNotCheckError(
            f"{path}: cannot be opened: {reason}",
            advice="name an ONNX file that you may read",
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CouldNotCheckError(f"{path}: is not a regular file", advice="name an ONNX file")
        if status.st_size > most:
            raise CouldNotCheckError(
                f"{path}: has {status.st_size} bytes, the limit is {most}",
                advice="name a smaller model",
            )
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    except OSError as error:
        raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None
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


def _holders_of_data(model: ModelProto, where: str) -> Iterator[Message]:
    """Every message of a model that is, or may hold, a tensor; dense tensors before sparse ones.

    Which fields those are is asked of the format itself, so that none is forgotten: tensors stand
    in attributes, in lists of them, inside sparse tensors, and in graphs and functions within.
    """
    waiting: list[Message] = [model]
    sparse: list[Message] = []
    count = 0
    while waiting:
        message = waiting.pop()
        count += 1
        if isinstance(message, SparseTensorProto):
            sparse.append(message)
        else:
            yield message
        for name in _fields_with_data(message.DESCRIPTOR):
            held = getattr(message, name)
            if not isinstance(held, Message):
                count += len(held)
                waiting.extend(held)
            elif message.HasField(name):
                waiting.append(held)
        if count > _MOST_MESSAGES:
            raise CouldNotCheckError(
                f"{where}: has more than {_MOST_MESSAGES} parts", advice="name a smaller model"
            )
    yield from sparse


@cache
def _fields_with_data(kind: Descriptor) -> tuple[str, ...]:
    """Name of each field of a message that may hold a tensor, or several."""
    return tuple(
        field.name
        for field in kind.fields
        if field.message_type is not None and _may_hold_data(field.message_type)
    )


@cache
def _may_hold_data(kind: Descriptor) -> bool:
    reached, waiting = {kind.full_name}, [kind]
    while waiting:
        found = waiting.pop()
        if found.full_name == TensorProto.DESCRIPTOR.full_name:
            return True
        inner = (field.message_type for field in found.fields)
        new = [each for each in inner if each is not None and each.full_name not in reached]
        reached |= {each.full_name for each in new}
        waiting += new
    return False
