"""The forms in which a file's network is read: normal forms of what it computes, and its own."""

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from onnx import ModelProto

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical import normal_form
from deepsigns_registry.graph.wiring import read_network, unread_network
from deepsigns_registry.watermark.blueprint import Network

__all__ = ["Form", "read_forms"]

# A file may answer with one model first and with another one behind it; of more outputs only the
# first are looked at.
MOST_OUTPUTS = 16


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
    model: ModelProto,
    *,
    where: str,
    row: tuple[int, ...] | None = None,
    until: float = math.inf,
) -> tuple[Form, ...]:
    """All forms of a checked model that differ, normal forms first, then the file's own.

    Args:
        model: The model; see `graph.structure.read_model`.
        where: What to call it in errors.
        row: Shape of one sample, where the caller knows it better than the file says.
        until: When no further normal form is begun, by `time.monotonic`.

    Raises:
        CouldNotCheckError: None can be read: too many layers, or constants that do not fit.
    """
    forms: list[Form] = []
    refused: list[CouldNotCheckError] = []
    layers: list[frozenset[bytes]] = []
    for part in _one_output_each(model):
        partial = len(model.graph.output) > 1
        found = _forms_of(part, where, row, refused, partial=partial, until=until)
        own = _digests(found[0].network)
        apart = bool(own) and all(not own & other for other in layers)
        layers.append(own)
        if len(layers) > 1 and apart:
            remark = f"output '{part.graph.output[0].name}' shares no layer with those before it"
            found[0] = replace(found[0], remarks=(*found[0].remarks, remark))
        for form in found:
            if not any(_same(form.network, other.network) for other in forms):
                forms.append(form)
    if refused and not any(form.network.layers for form in forms):
        raise refused[0]
    # The file's own forms come last: what they say counts where nothing else was found.
    return tuple(sorted(forms, key=lambda form: not form.network.rewritten))


def _forms_of(
    model: ModelProto,
    where: str,
    row: tuple[int, ...] | None,
    refused: list[CouldNotCheckError],
    *,
    partial: bool,
    until: float,
) -> list[Form]:
    """The forms of a file with one output, its own first; why that cannot be read is noted."""
    try:
        network = read_network(model, where=where)
    except CouldNotCheckError as error:
        # A normal form may have fewer layers.
        refused.append(error)
        network = unread_network(model)
    forms = [Form(replace(network, partial=partial), model)]
    gates = bounds = 0
    for opened, unbounded, merged in product((False, True), repeat=3):
        if (opened and not gates) or (unbounded and not bounds):
            continue
        if time.monotonic() > until:
            break
        try:
            normal = normal_form(
                model,
                where=where,
                row=row,
                merged=merged,
                opened=opened,
                unbounded=unbounded,
                until=until,
            )
            network = read_network(normal.model, where=where)
        except CouldNotCheckError:
            # The file can still be read as it is.
            continue
        gates, bounds = normal.gates, normal.bounds
        partially = partial or opened or unbounded
        network = replace(network, rewritten=True, partial=partially)
        forms.append(Form(network, normal.model, normal.remarks))
    return forms


def _digests(network: Network) -> frozenset[bytes]:
    """What tells the layers' weights from others."""
    return frozenset(
        hashlib.sha256(np.ascontiguousarray(layer.weight).tobytes()).digest()
        for layer in network.layers
    )


def _one_output_each(model: ModelProto) -> Iterator[ModelProto]:
    if len(model.graph.output) <= 1:
        yield model
        return
    for entry in model.graph.output[:MOST_OUTPUTS]:
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
