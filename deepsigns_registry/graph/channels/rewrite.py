"""Carrying a change of channels into every weight and every number that knows of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from deepsigns_registry.graph.channels.groups import Axis, Member, Role
from deepsigns_registry.graph.channels.layout import Layout
from deepsigns_registry.graph.channels.walk import WIDTH

__all__ = ["Change", "rewritten"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
_REAL = -1


@dataclass(frozen=True)
class Change:
    """New channels of one group, each made from an old one.

    Attributes:
        source: int64 [new]; the old channel that each new one comes from.
        gain: float64 [new]; factor of the channel where it is computed, positive or 0.
        share: float64 [new]; factor of the columns that read it.
        dummy: int64 [new]; -1, or the number of a dummy: its incoming weights are random, and
            the same for all channels with this number.
    """

    source: Integers
    gain: Floats
    share: Floats
    dummy: Integers

    @classmethod
    def of(
        cls,
        source: Integers,
        *,
        gain: Floats | None = None,
        share: Floats | None = None,
        dummy: Integers | None = None,
    ) -> "Change":
        """A change without dummies and with factors of one, unless they are given."""
        one = np.ones(len(source))
        return cls(
            source,
            one if gain is None else gain,
            one if share is None else share,
            np.full(len(source), _REAL) if dummy is None else dummy,
        )


def rewritten(
    layout: Layout, changes: Mapping[int, Change], random: np.random.Generator
) -> ModelProto:
    """Changes groups of channels everywhere.

    With `gain * share` summing to one over the new channels of each old one, the graph gives
    the same outputs as before, up to the order of summation. Tensor names stay.

    Args:
        layout: The graph; not changed.
        changes: What becomes of a group, by its number; the other groups stay.
        random: Where the weights of dummies come from.

    Returns:
        The changed graph.
    """
    model = ModelProto()
    model.CopyFrom(layout.model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    before = {
        member.weight: numpy_helper.to_array(weights[member.weight]).astype(np.float64)
        for member in layout.members
    }
    after = dict(before)
    for member in layout.members:
        change = _along(layout, changes, member.parts)
        after[member.weight] = _changed(after[member.weight], member, change, random)
    for entry in layout.normalisations:
        old = before[entry.variance][_along(layout, changes, entry.parts).source]
        # Exact with the epsilon, and for a channel that hardly varies.
        ratio = (after[entry.variance] + entry.epsilon) / (old + entry.epsilon)
        after[entry.gain] = after[entry.gain] * np.sqrt(ratio)
    for name, value in after.items():
        kind = helper.tensor_dtype_to_np_dtype(weights[name].data_type)
        weights[name].CopyFrom(numpy_helper.from_array(value.astype(kind), name))
    _recount(model, layout, changes)
    return model


def _along(layout: Layout, changes: Mapping[int, Change], parts: Axis) -> Change:
    """The change of a whole axis, position by position."""
    pieces = []
    start = dummies = 0
    for part in parts:
        size = layout.sizes[part.group]
        change = changes.get(part.group) or Change.of(np.arange(size))
        pieces.append(_spread(change, part.block, start, dummies))
        start += size * part.block
        dummies += (int(change.dummy.max(initial=_REAL)) + 1) * part.block
    return Change(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _spread(
    change: Change, block: int, start: int, dummies: int
) -> tuple[Integers, Floats, Floats, Integers]:
    """Each channel as a block of positions."""
    places = np.arange(block)
    dummy = np.repeat(change.dummy, block)
    numbers = dummies + dummy * block + np.tile(places, len(change.dummy))
    return (
        start + (change.source[:, None] * block + places).ravel(),
        np.repeat(change.gain, block),
        np.repeat(change.share, block),
        np.where(dummy == _REAL, _REAL, numbers),
    )


def _changed(value: Floats, member: Member, change: Change, random: np.random.Generator) -> Floats:
    shape = [1] * value.ndim
    shape[member.axis] = -1
    factor = {
        Role.PRODUCES: change.gain,
        Role.CONSUMES: change.share,
        Role.OFFSETS: change.gain,
        Role.VARIES: change.gain**2,
        Role.FOLLOWS: np.ones_like(change.gain),
    }[member.role]
    result = np.take(value, change.source, axis=member.axis) * factor.reshape(shape)
    count = int(change.dummy.max(initial=_REAL)) + 1
    if member.role is Role.PRODUCES and count:
        rows = np.moveaxis(result, member.axis, 0)
        drawn = random.normal(value.mean(), value.std(), (count, *rows.shape[1:]))
        made = change.dummy != _REAL
        rows[made] = drawn[change.dummy[made]]
    return result


def _recount(model: ModelProto, layout: Layout, changes: Mapping[int, Change]) -> None:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    writers = {name: node for node in model.graph.node for name in node.output}
    for count in layout.counts:
        extent = len(_along(layout, changes, count.parts).source)
        if count.position == WIDTH:
            entry = next(e for e in writers[count.holder].attribute if e.name == "group")
            entry.i = extent
            continue
        value = np.array(numpy_helper.to_array(weights[count.holder]))
        value[count.position] = extent
        weights[count.holder].CopyFrom(numpy_helper.from_array(value, count.holder))
