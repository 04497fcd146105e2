"""Attacks on the structure of random networks, with onnxruntime as the judge."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.attacks.split import Split
from deepsigns_registry.attacks.structured_prune import StructuredPrune
from deepsigns_registry.graph.channels import Freedom, channel_layout
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from tests.support.networks import (
    Network,
    convolutional,
    difference,
    execute,
    multilayer,
    residual,
    transformer,
)

Kind = Callable[[Callable[[list[Any]], Any], int], tuple[Network, ModelProto]]
NOTHING = LabelledData(np.empty((0, 1), np.float32), np.empty(0, np.int64))
# Sums in another order, and cancelling pairs of dummies behind a small variance: 1.2e-5 at most
# over 1,468 such networks.
# Of float32, where values were taken from each other.
ROUNDING = 1e-5
TOLERANCE = 1e-4

kinds = pytest.mark.parametrize("kind", [multilayer, convolutional, residual, transformer])
often = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
seeds = st.integers(0, 2**31)


def drawn(kind: Kind, data: st.DataObject) -> tuple[Network, OnnxTappedModel]:
    net, model = kind(lambda options: data.draw(st.sampled_from(options)), data.draw(seeds))
    return net, OnnxTappedModel.from_proto(model)


def extents(model: ModelProto) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


@kinds
@often
@given(data=st.data(), seed=seeds, spread=st.sampled_from([0.0, 0.5, 1.5]))
def test_permutation_keeps_the_function_and_moves_the_channels(
    kind: Kind, data: st.DataObject, seed: int, spread: float
) -> None:
    net, model = drawn(kind, data)
    layout = channel_layout(model)
    assert sorted(group.size for group in layout.groups.values()) == sorted(net.free)
    attacked = Permute().apply(model, spread, NOTHING, seed=seed).write_back()
    assert difference(model.write_back(), attacked, net.inputs()) < TOLERANCE
    # Every hidden tensor is the same but for the order of its channels and their factors.
    places = {
        name: place
        for name, axes in layout.tensors.items()
        for place, axis in enumerate(axes)
        if len(axis) == 1 and axis[0].group in layout.groups and axis[0].block == 1
    }
    assert len(places) >= len(net.free)
    before, after = (
        execute(each, net.inputs(), *places)[1:] for each in (model.write_back(), attacked)
    )
    for place, ours, theirs in zip(places.values(), before, after, strict=True):
        assert_moved(np.moveaxis(ours, place, 0), np.moveaxis(theirs, place, 0))


def assert_moved(before: Any, after: Any) -> None:
    before, after = (part.reshape(len(part), -1).astype(np.float64) for part in (before, after))
    lengths = [np.linalg.norm(part, axis=1) for part in (before, after)]
    # Channels that are zero, or would be but for rounding, have no direction.
    alive = [length > ROUNDING * length.max(initial=0) for length in lengths]
    before, after = (
        part / np.maximum(length[:, None], 1e-30)
        for part, length in zip((before, after), lengths, strict=True)
    )
    # The others find one of the same direction.
    for ours, theirs, live in ((before, after, alive[0]), (after, before, alive[1])):
        assert ((ours[live] @ theirs.T).max(axis=1, initial=0) > 1 - 1e-6).all()


@kinds
@often
@given(data=st.data(), seed=seeds, share=st.sampled_from([0.01, 0.3, 1.0]))
def test_splitting_keeps_the_function_and_widens_the_layers(
    kind: Kind, data: st.DataObject, seed: int, share: float
) -> None:
    net, model = drawn(kind, data)
    groups = channel_layout(model).groups.values()
    widened = [group for group in groups if Freedom.DUPLICATE in group.freedom]
    assert len(widened) == len(net.free) - (kind is transformer)
    attacked = Split().apply(model, share, NOTHING, seed=seed)
    assert difference(model.write_back(), attacked.write_back(), net.inputs()) < TOLERANCE
    sizes = sorted(group.size for group in channel_layout(attacked).groups.values())
    expected = [
        group.size + 2 * max(1, round(share * group.size)) if group in widened else group.size
        for group in groups
    ]
    assert sizes == sorted(expected)


@kinds
@often
@given(data=st.data(), share=st.sampled_from([0.1, 0.5, 0.99]))
def test_structured_pruning_leaves_a_narrower_model_that_runs(
    kind: Kind, data: st.DataObject, share: float
) -> None:
    net, model = drawn(kind, data)
    pruned = StructuredPrune().apply(model, share, NOTHING, seed=0).write_back()
    assert np.isfinite(execute(pruned, net.inputs())[0]).all()
    layout = channel_layout(model)
    before, after = extents(layout.model), extents(pruned)
    for member in layout.members:
        if len(member.parts) == 1 and member.parts[0].group in layout.groups:
            old, new = (sizes[member.weight][member.axis] for sizes in (before, after))
            block = member.parts[0].block
            channels = old // block
            assert new == (channels - int(share * channels)) * block


@kinds
@often
@given(data=st.data())
def test_what_is_not_pruned_is_as_it_was(kind: Kind, data: st.DataObject) -> None:
    net, model = drawn(kind, data)
    # No layer has a hundred channels, so that none is removed.
    pruned = StructuredPrune().apply(model, 0.01, NOTHING, seed=0).write_back()
    layout = channel_layout(model).model
    assert execute(pruned, net.inputs())[0].tolist() == execute(layout, net.inputs())[0].tolist()
    for one, other in zip(layout.graph.initializer, pruned.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
