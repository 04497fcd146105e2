"""Whether a suspect's tensor is the tap of the unmarked parent, told by value.

Marking moves the class means of the tap as far as its bits need, which in a narrow layer is
farther than the means were from each other: they tell little of whose tensor it is. What samples
of one class differ by is moved hardly at all, so each neuron is compared with the parent's of the
same place by its correlation over the triggers, class means taken out. What all neurons share is
held down first: in data with few directions it would drown what tells one neuron from another.

How much correlation is enough is asked of the model at hand. The neurons of an unrelated network,
and of a sibling that was trained on the same data, come in no order that has to do with the
parent's: as likely as in theirs they could stand in any other. So the correlation is compared with
that of the same two tensors in random orders of the suspect's channels, and counts when it is
larger than all of them. With 9,999 orders that happens to such a network with probability 1/10,000
(a permutation test, Fisher 1935; exact in Monte Carlo form, Dwass 1957), whatever the layer, the
data and the number of neurons are.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.expand import Stream

__all__ = ["FALSE_ACCEPTANCE", "Layout", "TapAgreement", "compare_taps"]

_ORDERS = 9_999
FALSE_ACCEPTANCE = 1 / (_ORDERS + 1)
"""Highest probability that a network which is not the parent's is taken for it."""

# Of more, so many are compared, evenly spread: half of the channels did not know a small regressor
# again after marking; and reading a mark should cost little more than running the model.
_MOST_CHANNELS = 128
_MOST_NEURONS = 1024
_MOST_SAMPLES_A_CLASS = 50
# An unrelated tensor is usually beaten by one of the first few orders.
_FIRST_ORDERS = 50
# Below this share of the largest spread a neuron is constant but for rounding.
_CONSTANT = 1e-6


class Layout(NamedTuple):
    """Where the channels stand among the neurons of a flattened tap.

    Places in an image and steps of a sequence are no order that could be any other; the channels
    are.

    Attributes:
        outer: Positions in front: so many times all channels stand there.
        inner: Positions behind: so many neurons of one channel stand together.
    """

    outer: int = 1
    inner: int = 1


class TapAgreement(NamedTuple):
    """How a suspect's tensor compares with the parent's tap.

    Attributes:
        correlation: Mean correlation of each live neuron of the parent's with that of its
            place, in [-1, 1], after what all neurons share was held down.
        verified: Whether no other order of the channels would have given as much.
    """

    correlation: float
    verified: bool


_CHANNELS = Layout()


def compare_taps(
    reference: NDArray[np.float32],
    activation: NDArray[np.float32],
    *,
    carriers: int,
    layout: Layout = _CHANNELS,
) -> TapAgreement | None:
    """Compares a suspect's activation on the triggers with the parent's.

    Neither bits nor projection enter, so that the null of the bits stays what it is.

    Args:
        reference: float32 [triggers, neurons], of the unmarked parent; those of one carrier class
            stand together. Never of the marked model: that would leak the bits.
        activation: float32 [triggers, neurons] of the suspect.
        carriers: Number of carrier classes.
        layout: Where the channels stand among the neurons.

    Returns:
        None when there is nothing to compare: other shapes, or no two triggers of a class.

    Examples:
        >>> values = np.random.default_rng(0).normal(size=(100, 32)).astype(np.float32)
        >>> compare_taps(values, 3 * values + 1, carriers=2).verified
        True
        >>> compare_taps(values, values[:, ::-1], carriers=2).verified
        False
    """
    samples, neurons = reference.shape
    if activation.shape != reference.shape or carriers < 1 or samples % carriers:
        return None
    if samples < 2 * carriers or not neurons or min(layout) < 1:
        return None
    if neurons % (layout.outer * layout.inner) or not np.isfinite(activation).all():
        return None
    channels = neurons // (layout.outer * layout.inner)
    rows = np.arange(samples).reshape(carriers, -1)[:, :_MOST_SAMPLES_A_CLASS].ravel()
    chosen = _spread(channels, _MOST_CHANNELS)
    inner = _spread(layout.inner, max(1, _MOST_NEURONS // len(chosen)))
    outer = _spread(layout.outer, max(1, _MOST_NEURONS // (len(chosen) * len(inner))))
    compared = np.ix_(rows, outer, chosen, inner)
    ours, theirs = (
        _comparable(
            values.reshape(samples, layout.outer, channels, layout.inner)[compared], carriers
        )
        for values in (reference, activation)
    )
    live = int(ours.any(axis=0).sum())
    correlation = float((ours * theirs).sum() / max(live, 1))
    likeness = np.tensordot(ours, theirs, axes=([0, 1, 3], [0, 1, 3]))
    return TapAgreement(correlation, _stands_out(likeness))


def _spread(size: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, size - 1, min(size, most)).astype(np.int64)


def _comparable(values: NDArray[np.float32], carriers: int) -> NDArray[np.float64]:
    """What can be told of each neuron by its correlation: float64, of the same shape."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    return _scaled(_evened(_scaled(_within(flat, carriers)))).reshape(values.shape)


def _within(values: NDArray[np.float64], carriers: int) -> NDArray[np.float64]:
    """Without class means: float64 [triggers, neurons]."""
    grouped = values.reshape(carriers, -1, values.shape[1]).copy()
    grouped -= grouped.mean(axis=1, keepdims=True)
    deviations: NDArray[np.float64] = grouped.reshape(values.shape)
    return deviations


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each neuron of length one, or zero where it is constant."""
    lengths = np.linalg.norm(values, axis=0)
    live = lengths > _CONSTANT * lengths.max(initial=0)
    scaled: NDArray[np.float64] = np.divide(values, lengths, out=np.zeros_like(values), where=live)
    return scaled


def _evened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """No direction over the samples is larger than the root mean square of all.

    The order of the neurons plays no part in it.
    """
    rows = len(values) <= values.shape[1]
    squares, directions = np.linalg.eigh(values @ values.T if rows else values.T @ values)
    used = squares > _CONSTANT * squares.max(initial=0)
    if not used.any():
        return values
    shrunk = np.ones_like(squares)
    shrunk[used] = np.sqrt(np.minimum(1, squares[used].mean() / squares[used]))
    change = (directions * shrunk) @ directions.T
    evened: NDArray[np.float64] = change @ values if rows else values @ change
    return evened


def _stands_out(likeness: NDArray[np.float64]) -> bool:
    """Whether the diagonal sums to more than any of the other orders gives."""
    own, places = np.trace(likeness), _places(len(likeness))
    for part in (places[:, :_FIRST_ORDERS], places[:, _FIRST_ORDERS:]):
        # Sums in another order of the same terms differ by rounding.
        if (likeness.ravel().take(part).sum(axis=0) >= own - 1e-9 * (1 + abs(own))).any():
            return False
    return True


@lru_cache(maxsize=4)
def _places(channels: int) -> NDArray[np.intp]:
    """Where the diagonal stands in the same random orders for everybody: [channels, orders]."""
    stream = Stream(bytes(32), f"orders of {channels} channels")
    drawn = stream.integers24(_ORDERS * channels).reshape(_ORDERS, channels)
    # Sorting numbers that hold their own place is several times faster than sorting places.
    orders = np.sort(drawn * channels + np.arange(channels), axis=1) % channels
    return np.ascontiguousarray((orders + channels * np.arange(channels)).T.astype(np.intp))
