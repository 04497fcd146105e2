"""Structural mutants of ONNX files: fields of their messages changed, and bytes."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import EncodeError, Message
from onnx import ModelProto, TensorProto, defs, helper

__all__ = ["mutated"]

_NUMBERS = (-1, 0, 1, 2, 7, 255, 2**16, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
_REALS = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e38, 1e-45)
_TEXTS = ("", "input", "output", "\x1b[2J", "\0", "../../etc/passwd", "a" * 100_000, "\u202e")
_CHANGES_AT_ONCE = (1, 1, 1, 1, 2, 4)


def mutated(seed: ModelProto, number: int) -> bytes:
    """The mutant of this number, the same on every machine.

    Args:
        seed: What it is made from; not changed.
        number: Names the mutant.

    Returns:
        The file's content.
    """
    random = Random(f"mutant {number}")
    model = ModelProto()
    model.CopyFrom(seed)
    # Most change one thing: of two, one alone is refused already.
    for _ in range(random.choice(_CHANGES_AT_ONCE)):
        random.choice(_CHANGES)(model, random)
    try:
        content = model.SerializeToString()
    except (EncodeError, ValueError):
        content = seed.SerializeToString()
    return _damaged(content, random) if random.random() < 0.1 else content


def _damaged(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.randint(1, 8)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    if random.random() < 0.2:
        del changed[random.randrange(len(changed)) :]
    return bytes(changed)


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, found in message.ListFields():
        if field.message_type is not None:
            for part in found if _is_repeated(field) else [found]:
                yield from _messages(part)


def _is_repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def _any_field(model: ModelProto, random: Random) -> None:
    """Any field of any message, to any value that it may have."""
    messages = list(_messages(model))
    message = random.choice(messages)
    field: Any = random.choice(list[Any](message.DESCRIPTOR.fields))
    if field.message_type is not None:
        _submessage(message, field, messages, random)
        return
    try:
        if _is_repeated(field):
            _several(getattr(message, field.name), field, model, random)
        else:
            setattr(message, field.name, _value(field, model, random))
    except (ValueError, TypeError):
        # The binding refuses what the format cannot hold.
        message.ClearField(field.name)


def _value(field: FieldDescriptor, model: ModelProto, random: Random) -> Any:
    if field.cpp_type in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}:
        return random.choice(_REALS)
    if field.enum_type is not None:
        return random.choice(field.enum_type.values).number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice((b"", b"\xff" * 7, random.randbytes(64), bytes(10_000)))
    if field.type == FieldDescriptor.TYPE_STRING:
        return random.choice((*_TEXTS, *_names(model)))
    if field.type == FieldDescriptor.TYPE_INT32:
        return random.choice((*range(30), 2**31 - 1, -1))
    return random.choice(_NUMBERS)


def _several(container: Any, field: FieldDescriptor, model: ModelProto, random: Random) -> None:
    values = list(container)
    change = random.randrange(4)
    if change == 0 or not values:
        values += [_value(field, model, random) for _ in range(random.choice((1, 2, 40)))]
    elif change == 1:
        values[random.randrange(len(values))] = _value(field, model, random)
    elif change == 2:
        del values[random.randrange(len(values))]
    else:
        random.shuffle(values)
    del container[:]
    container.extend(values)


def _submessage(
    message: Message, field: FieldDescriptor, messages: Sequence[Message], random: Random
) -> None:
    assert field.message_type is not None  # noqa: S101 - it was asked for
    kind = field.message_type.full_name
    same = [other for other in messages if other.DESCRIPTOR.full_name == kind]
    donor = random.choice(same) if same else None
    if not _is_repeated(field):
        if donor is None or random.random() < 0.3:
            message.ClearField(field.name)
        else:
            # A copy: a message may stand inside the one that it is put into.
            getattr(message, field.name).CopyFrom(_copied(donor))
        return
    parts = getattr(message, field.name)
    change = random.randrange(4)
    if change == 0 and len(parts):
        del parts[random.randrange(len(parts))]
    elif change == 1 and len(parts):
        part = _copied(random.choice(parts))
        for _ in range(random.choice((1, 2, 50))):
            parts.add().CopyFrom(part)
    elif change == 2 and len(parts) > 1:
        order = [_copied(part) for part in parts]
        random.shuffle(order)
        del parts[:]
        parts.extend(order)
    elif donor is not None:
        parts.add().CopyFrom(_copied(donor))


def _copied(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _names(model: ModelProto) -> list[str]:
    graph = model.graph
    # What is no UTF-8 comes out as bytes, whatever the declared type.
    found: list[object] = [tensor.name for tensor in graph.initializer]
    found += [name for node in graph.node for name in (*node.input, *node.output)]
    return [name for name in found if isinstance(name, str)] or [""]


@cache
def _operators() -> tuple[str, ...]:
    return tuple(sorted({schema.name for schema in defs.get_all_schemas()}))


def _operator(model: ModelProto, random: Random) -> None:
    """A node computes something else."""
    if model.graph.node:
        random.choice(model.graph.node).op_type = random.choice(_operators())


def _crossed(model: ModelProto, random: Random) -> None:
    """A node reads, or writes, what another one does; cycles come of it."""
    if not model.graph.node:
        return
    node = random.choice(model.graph.node)
    names = node.input if random.random() < 0.7 else node.output
    if names:
        names[random.randrange(len(names))] = random.choice(_names(model))


def _inserted(model: ModelProto, random: Random) -> None:
    """A node of any operator comes between two others."""
    if not model.graph.node:
        return
    node = random.choice(model.graph.node)
    if node.input:
        at = random.randrange(len(node.input))
        further = random.choices(_names(model), k=random.randrange(3))
        made = helper.make_node(
            random.choice(_operators()), [node.input[at], *further], [f"made{random.random()}"]
        )
        node.input[at] = made.output[0]
        model.graph.node.insert(random.randrange(len(model.graph.node)), made)


def _attribute(model: ModelProto, random: Random) -> None:
    """An attribute changes its kind."""
    attributes = [each for node in model.graph.node for each in node.attribute]
    if not attributes:
        return
    attribute = random.choice(attributes)
    kept = attribute.name
    made = helper.make_attribute(
        kept or "axis",
        random.choice(
            (
                random.choice(_NUMBERS),
                random.choice(_REALS),
                "text",
                [1, -1, 2**40],
                [1.5],
                ["a"],
                helper.make_tensor("t", TensorProto.INT64, [1], [3]),
                _copied(model.graph) if len(model.graph.node) < 200 else 1,
            )
        ),
    )
    attribute.CopyFrom(made)


def _extent(model: ModelProto, random: Random) -> None:
    """A tensor's shape says something else than its values."""
    tensors = list(model.graph.initializer)
    if tensors:
        tensor = random.choice(tensors)
        if tensor.dims and random.random() < 0.8:
            tensor.dims[random.randrange(len(tensor.dims))] = random.choice(_NUMBERS)
        else:
            tensor.dims.extend(random.choices(_NUMBERS, k=random.choice((1, 3, 70))))


def _content(model: ModelProto, random: Random) -> None:
    """A tensor's values are cut, extended, of another kind, or no numbers."""
    tensors = list(model.graph.initializer)
    if not tensors:
        return
    tensor = random.choice(tensors)
    change = random.randrange(4)
    if change == 0:
        tensor.raw_data = tensor.raw_data[: random.randrange(len(tensor.raw_data) + 1)]
    elif change == 1:
        tensor.raw_data += bytes(random.choice((1, 3, 4, 4096)))
    elif change == 2:
        tensor.data_type = random.randrange(26)
    else:
        tensor.raw_data = b"\xff\xff\x7f\x7f" * (len(tensor.raw_data) // 4)


def _declared(model: ModelProto, random: Random) -> None:
    """The input or the output declares another shape or kind."""
    entries = [*model.graph.input, *model.graph.output]
    if not entries:
        return
    tensor = random.choice(entries).type.tensor_type
    if tensor.shape.dim and random.random() < 0.7:
        extent = random.choice(tensor.shape.dim)
        extent.dim_value = random.choice(_NUMBERS)
    else:
        tensor.elem_type = random.randrange(26)


def _version(model: ModelProto, random: Random) -> None:
    """Another version of the operators, or of the format."""
    if random.random() < 0.7 and model.opset_import:
        opset = random.choice(model.opset_import)
        opset.version = random.choice((*range(30), *_NUMBERS))
        opset.domain = random.choice((opset.domain, "ai.onnx.ml", "com.microsoft", "x"))
    else:
        model.ir_version = random.choice((*range(15), *_NUMBERS))


# The parts of a file where most of its meaning lies are changed more often than by chance.
_CHANGES: Sequence[Callable[[ModelProto, Random], None]] = (
    *(_any_field, _any_field, _any_field, _operator, _operator, _crossed, _crossed),
    *(_inserted, _attribute, _extent, _content, _declared, _version),
)
