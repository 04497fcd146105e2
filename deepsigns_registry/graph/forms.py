"""The forms in which a file's network is read: normal forms of what it computes, and its own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical import normal_form
from deepsigns_registry.graph.wiring import read_network
from deepsigns_registry.watermark.blueprint import Network

__all__ = ["Form", "read_forms"]

# A file may answer with one model first and with another one behind it; of more outputs only the
# first are looked at.
_MOST_OUTPUTS = 4


@dataclass(frozen=True, repr=False)
class Form:
    """One way to read a file.

    Attributes:
        network: Its layers.
        model: The graph that has them.
        remarks: What was noticed, a sentence each.
    """

    network: Network
    model: ModelProto
    remarks: tuple[str, ...] = ()


def read_forms(
    model: ModelProto, *, where: str, row: tuple[int, ...] | None = None
) -> tuple[Form, ...]:
    """All forms of a checked model that differ, normal forms first, then the file's own.

    Args:
        model: The model; see `graph.structure.read_model`.
        where: What to call it in errors.
        row: Shape of one sample, where the caller knows it better than the file says.

    Raises:
        CouldNotCheckError: None can be read: too many layers, or constants that do not fit.
    """
    forms: list[Form] = []
    refused: CouldNotCheckError | None = None
    for part in _one_output_each(model):
        for kind in (_own, _normal, _merged):
            try:
                form = kind(part, where, row)
            except CouldNotCheckError as error:
                refused = error
                continue
            if not any(_same(form.network, other.network) for other in forms):
                forms.append(form)
    if not forms and refused is not None:
        raise refused
    # The file's own forms come last: what they say counts where nothing else was found.
    return tuple(sorted(forms, key=lambda form: not form.network.rewritten))


def _normal(model: ModelProto, where: str, row: tuple[int, ...] | None) -> Form:
    form = normal_form(model, where=where, row=row)
    network = read_network(form.model, where=where)
    return Form(replace(network, rewritten=True), form.model, form.remarks)


def _merged(model: ModelProto, where: str, row: tuple[int, ...] | None) -> Form:
    form = normal_form(model, where=where, row=row, merged=True)
    network = read_network(form.model, where=where)
    return Form(replace(network, rewritten=True), form.model, form.remarks)


def _own(model: ModelProto, where: str, _: tuple[int, ...] | None) -> Form:
    return Form(read_network(model, where=where), model)


def _one_output_each(model: ModelProto) -> Iterator[ModelProto]:
    if len(model.graph.output) <= 1:
        yield model
        return
    for entry in model.graph.output[:_MOST_OUTPUTS]:
        copy = ModelProto()
        copy.CopyFrom(model)
        del copy.graph.output[:]
        copy.graph.output.append(entry)
        yield copy


def _same(one: Network, other: Network) -> bool:
    """Whether two networks have the same layers and tensors."""
    if one.tensors != other.tensors or one.sole != other.sole:
        return False
    if len(one.layers) != len(other.layers):
        return False
    return all(
        (first.source, first.target) == (second.source, second.target)
        and np.array_equal(first.weight, second.weight, equal_nan=True)
        for first, second in zip(one.layers, other.layers, strict=True)
    )
