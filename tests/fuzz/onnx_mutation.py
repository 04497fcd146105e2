"""Mutants of ONNX files: by bytes, and by the fields of the messages that they are made of."""

import random
from typing import Any

from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from tests.fuzz.mutation import mutate_bytes

_INTEGERS = (0, 1, -1, 2, 64, 2**31 - 1, -(2**31), 7)
_LONG = (*_INTEGERS, 2**63 - 1, -(2**63), 2**32, 2**40)
_TEXTS = ("", "input", "output", "Loop", "If", "Relu", "Gemm", "../x", "\x1b[2J", "a" * 3000)


def mutate_onnx(content: bytes, chance: random.Random) -> bytes:
    """Some fields are changed, some messages doubled, left out or put somewhere else."""
    model = ModelProto()
    try:
        if not chance.randrange(4):
            return mutate_bytes(content, chance)
        model.ParseFromString(content)
    except DecodeError:
        return mutate_bytes(content, chance)
    for _ in range(chance.choice((1, 1, 2, 4))):
        messages = _messages(model)
        message = chance.choice(messages)
        if chance.randrange(3) == 0:
            _add_data(message, chance)
        else:
            _change(message, chance)
    return model.SerializeToString()


def _messages(model: ModelProto) -> list[Any]:
    found: list[Any] = [model]
    for message in found:
        for field, value in message.ListFields():
            if field.message_type is not None:
                found += [value] if isinstance(value, Message) else list(value)
    return found


def _change(message: Any, chance: random.Random) -> None:
    field = chance.choice(message.DESCRIPTOR.fields)
    held = getattr(message, field.name)
    if field.message_type is not None:
        if isinstance(held, Message):
            held.SetInParent()
        elif len(held) and chance.randrange(2):
            del held[chance.randrange(len(held))]
        elif len(held):
            held.extend([chance.choice(list(held))] * chance.choice((1, 3)))
        else:
            held.add()
        return
    values = _values(field.cpp_type, field)
    value = chance.choice(values)
    try:
        if hasattr(held, "append"):
            held.append(value)
            if len(held) > 1 and chance.randrange(2):
                held[chance.randrange(len(held))] = value
        else:
            setattr(message, field.name, value)
    except (TypeError, ValueError):
        message.ClearField(field.name)


def _values(kind: int, field: Any) -> tuple[object, ...]:
    if kind == field.CPPTYPE_STRING:
        return (b"", b"\xff" * 4, bytes(64)) if field.type == field.TYPE_BYTES else _TEXTS
    if kind in {field.CPPTYPE_INT64, field.CPPTYPE_UINT64}:
        return _LONG
    if kind in {field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE}:
        return 0.0, -1.0, float("nan"), float("inf"), 1e30
    return _INTEGERS


def _add_data(message: Any, chance: random.Random) -> None:
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[chance.choice(_LONG)])
    if chance.randrange(2):
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/hostname")
    graph = GraphProto(name="g", initializer=[tensor], node=[NodeProto(op_type="Loop")])
    if isinstance(message, AttributeProto):
        sparse = SparseTensorProto(values=tensor, indices=tensor, dims=[4])
        field, value = chance.choice(
            (
                ("t", tensor),
                ("tensors", tensor),
                ("sparse_tensor", sparse),
                ("sparse_tensors", sparse),
                ("g", graph),
                ("graphs", graph),
            )
        )
        held = getattr(message, field)
        held.CopyFrom(value) if isinstance(held, Message) else held.append(value)
    elif isinstance(message, GraphProto):
        message.initializer.append(tensor)
    elif isinstance(message, TensorProto):
        message.CopyFrom(tensor)
    elif isinstance(message, NodeProto):
        message.attribute.append(AttributeProto(name="value", t=tensor))
