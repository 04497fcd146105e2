"""A tap is told by value, at a stated rate, whatever was done to ours."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.watermark.tap import FALSE_ACCEPTANCE, Layout, TapAgreement, compare_taps

Floats = NDArray[np.float32]
CARRIERS, TRIGGERS = 4, 50
CHANNELS = Layout()


def layer(
    samples: Floats, neurons: int, seed: int, *, shared: float = 0.0, means: float = 1.0
) -> Floats:
    """A layer of its own on the same samples: rectified random features of few directions."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=(samples.shape[1], neurons)) + shared
    offsets = means * random.normal(size=(CARRIERS, neurons)).repeat(TRIGGERS, axis=0)
    return np.maximum(samples @ weight + offsets, 0).astype(np.float32)


def drawn(seed: int, directions: int = 8) -> Floats:
    shape = (CARRIERS * TRIGGERS, directions)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def agree(ours: Floats, theirs: Floats, layout: Layout = CHANNELS) -> TapAgreement:
    found = compare_taps(ours, theirs, carriers=CARRIERS, layout=layout)
    assert found is not None
    return found


@pytest.mark.parametrize("neurons", [24, 64, 512])
@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_means_that_the_bits_move_say_nothing(neurons: int, shared: float) -> None:
    samples = drawn(1)
    ours = layer(samples, neurons, 2, shared=shared)
    # Each class mean is moved by three times its size, in a direction of its own.
    moves = np.random.default_rng(3).normal(size=(CARRIERS, neurons)).repeat(TRIGGERS, axis=0)
    moved = ours + (3 * ours.mean() * moves).astype(np.float32)
    assert agree(ours, moved).verified
    assert agree(ours, 7 * moved).correlation == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_siblings_are_told_apart_at_the_stated_rate(shared: float) -> None:
    samples = drawn(1)
    ours = layer(samples, 64, 2, shared=shared)
    siblings = [agree(ours, layer(samples, 64, seed, shared=shared)) for seed in range(10, 1010)]
    # Binomial(1000, 1/10,000): three or more in one of 6,500 runs.
    assert sum(found.verified for found in siblings) <= 2
    assert FALSE_ACCEPTANCE == 1e-4


def image(seed: int, channels: int, samples: Floats) -> Floats:
    """A flattened feature map: every network sees more in the same places."""
    random = np.random.default_rng(seed)
    seen = samples @ np.random.default_rng(0).normal(size=(samples.shape[1], 9))
    strength = 1 + random.random((channels, 1))
    noise = 0.3 * random.normal(size=(len(samples), channels, 9))
    values = strength * seen[:, None, :] + noise
    return values.reshape(len(samples), -1).astype(np.float32)


@pytest.mark.parametrize("outer", [1, 3, 9])
def test_places_in_an_image_are_no_order_that_could_be_any_other(outer: int) -> None:
    """Wherever they stand: behind the channels, in front of them, or both."""
    layout = Layout(outer, 9 // outer)
    samples = drawn(1)

    def stood(values: Floats) -> Floats:
        apart = values.reshape(len(values), 32, *layout).swapaxes(1, 2)
        return np.ascontiguousarray(apart).reshape(len(values), -1)

    ours, sibling = stood(image(2, 32, samples)), stood(image(3, 32, samples))
    assert agree(ours, sibling, Layout(9, 1) if outer == 1 else CHANNELS).verified
    assert not agree(ours, sibling, layout).verified
    weakened = ours + np.random.default_rng(4).normal(size=ours.shape).astype(np.float32)
    assert agree(ours, weakened, layout).verified


def test_most_of_a_layer_may_be_gone() -> None:
    samples = drawn(1)
    ours = layer(samples, 128, 2)
    pruned = ours * (np.random.default_rng(5).random(128) < 0.2)
    assert agree(ours, pruned.astype(np.float32)).verified
    assert not agree(ours, np.zeros_like(ours)).verified


def test_too_few_channels_are_never_verified() -> None:
    """Of six channels there are 720 orders, and one of them is their own."""
    ours = layer(drawn(1), 6, 2)
    assert not agree(ours, ours).verified


@pytest.mark.parametrize(
    ("rows", "neurons", "carriers", "layout"),
    [
        (7, 4, 4, CHANNELS),
        (8, 5, 4, CHANNELS),
        (8, 4, 3, CHANNELS),
        (8, 4, 8, CHANNELS),
        (8, 4, 4, Layout(1, 3)),
        (8, 4, 4, Layout(2, 4)),
        (8, 4, 4, Layout(0, 1)),
        (0, 4, 4, CHANNELS),
    ],
)
def test_what_cannot_be_compared_is_not(
    rows: int, neurons: int, carriers: int, layout: Layout
) -> None:
    ours = np.ones((8, 4), np.float32)
    theirs = np.ones((rows, neurons), np.float32)
    assert compare_taps(ours, theirs, carriers=carriers, layout=layout) is None


def test_values_that_are_no_numbers_are_not_compared() -> None:
    ours = np.ones((8, 4), np.float32)
    assert compare_taps(ours, ours * np.nan, carriers=4) is None
