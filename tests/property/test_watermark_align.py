"""Alignment against an oracle that made the changes itself."""

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepsigns_registry.watermark.align import Rows, align, match_rows
from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor, sketched

Floats = NDArray[np.float32]


def two_layers(first: Floats, second: Floats) -> Network:
    layers = (Layer(first, (), 0), Layer(second, (0,), 1))
    return Network(layers, (Tensor("h", (0,), 1), Tensor("t", (1,), 2)))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(0, 12), st.integers(0, 12))
def test_what_was_done_to_two_layers_is_undone(
    seed: int, neurons: int, copies: int, dummies: int
) -> None:
    """Moved, scaled, split and padded hidden layers, both of them; the block is a flattening."""
    random = np.random.default_rng(seed)
    block = int(random.integers(1, 4))
    first = random.normal(size=(neurons, 30)).astype(np.float32)
    second = random.normal(size=(neurons, neurons * block)).astype(np.float32)

    def changed() -> tuple[NDArray[np.int64], Floats, Floats]:
        """Source of each new channel (-1: dummy), its factor, and its share of what reads it."""
        doubled = random.choice(neurons, min(copies, neurons), replace=False)
        source = np.concatenate([random.permutation(neurons), doubled])
        gain = np.exp(random.normal(0, 1, len(source)))
        times = np.bincount(source, minlength=neurons)[source]
        source = np.concatenate([source, np.full(dummies, -1)])
        share = np.concatenate([1 / gain / times, np.zeros(dummies)])
        gain = np.concatenate([gain, np.ones(dummies)])
        return source, gain.astype(np.float32), share.astype(np.float32)

    def rows(weight: Floats, source: NDArray[np.int64], gain: Floats) -> Floats:
        made = weight[np.maximum(source, 0)] * gain[:, None]
        made[source < 0] = random.normal(size=(int((source < 0).sum()), weight.shape[1]))
        return made

    (source, gain, share), (tap, tap_gain, _) = changed(), changed()
    columns = second.reshape(neurons, neurons, block)[:, np.maximum(source, 0)]
    columns = (columns * share[None, :, None]).reshape(neurons, -1)
    suspect = two_layers(rows(first, source, gain), rows(columns, tap, tap_gain))

    found = align(Blueprint.of(two_layers(first, second), "t"), suspect)
    assert found is not None
    assert found.tensors == ("t",)
    assert found.agreement > 0.9
    np.testing.assert_array_equal(tap[found.assignment], np.arange(neurons))
    activation = random.uniform(1, 2, (5, neurons)).astype(np.float32)
    moved = activation[:, np.maximum(tap, 0)] * tap_gain
    moved[:, tap < 0] = 99
    read = found.read(moved.astype(np.float32), neurons)
    assert read is not None
    factors = read / activation
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:1], factors.shape), rtol=1e-4)
    # What may be the noise of marking is not undone: up to 2 * 0.25 in the logarithm, to both
    # sides, and a little where the columns of the layer before were not either.
    assert np.ptp(np.log(factors[0])) < 1.3


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_the_assignment_is_the_best_of_all(seed: int, neurons: int) -> None:
    random = np.random.default_rng(seed)
    ours, theirs = (
        Rows(*sketched(random.normal(size=(neurons, 3)).astype(np.float32))) for _ in range(2)
    )
    cosines = ours.unit @ theirs.unit.T
    best = max(
        sum(cosines[row, column] for row, column in enumerate(order))
        for order in permutations(range(neurons))
    )
    match = match_rows([(ours, theirs)])
    assert sorted(match.assignment) == list(range(neurons))
    reached = cosines[np.arange(neurons), match.assignment].sum()
    assert abs(float(reached) - float(best)) < 1e-5


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_hostile_network_is_none_or_an_alignment(data: st.DataObject) -> None:
    """Any groups, shapes and values."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    parent = two_layers(
        random.normal(size=(6, 4)).astype(np.float32), random.normal(size=(5, 6)).astype(np.float32)
    )
    layers = tuple(
        Layer(
            np.full(
                (data.draw(st.integers(1, 30)), data.draw(st.integers(1, 12))),
                data.draw(st.sampled_from([0.0, 1.0, np.nan, np.inf, 1e38])),
                np.float32,
            ),
            tuple(data.draw(st.lists(st.integers(0, 2), max_size=2))),
            data.draw(st.integers(0, 2)),
        )
        for _ in range(data.draw(st.integers(0, 3)))
    )
    found = align(Blueprint.of(parent, "t"), Network(layers, parent.tensors))
    if found is not None:
        assert np.isfinite(found.agreement)
        assert (np.isfinite(found.scale) & (found.scale > 0)).all()
        assert (found.assignment < found.width).all()
