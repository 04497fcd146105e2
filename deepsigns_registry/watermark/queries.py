"""Families of secret queries: what a candidate looks like, by its key.

Each family is one function of a stream and of the owner's source samples. Which one withstands
most is a matter of measurement (docs/results.md); why the default does:

What a thief's fine-tuning forgets first is what all queries have in common, because his data
moves it every step. `salt` has next to nothing in common: a few random features at the end of
their range, everything else as near to zero as the data goes. And it varies where data does not,
from feature to feature, so that his gradients hardly touch what tells one query from another.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.watermark.expand import Stream

__all__ = ["FAMILIES", "Sources", "make_queries"]

_SALT_SHARE = 0.1
# Samples of few features need more of them to be told apart.
_LEAST_SALT = 16
_NOISE_SHARE = 0.6
_FLIPPED_SHARE = 0.1


@dataclass(frozen=True, repr=False)
class Sources:
    """Training samples that queries are made from, and the range of their features.

    A feature's range is its own in flat samples, its channel's in images (three axes or more),
    and that of all values in samples of two axes.

    Attributes:
        samples: float64 [sources, ...].
        low: float64 [...], broadcast to a sample's shape.
        high: float64 [...].
    """

    samples: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, samples: NDArray[np.float32]) -> "Sources":
        """Measures the range.

        Args:
            samples: float32 [sources, ...].
        """
        values = samples.astype(np.float64)
        shape = values.shape[1:]
        kept = {1: (0,), 2: tuple(range(values.ndim))}.get(len(shape), (0, *range(2, values.ndim)))
        low = values.min(axis=kept, keepdims=True)[0]
        high = values.max(axis=kept, keepdims=True)[0]
        return cls(values, np.broadcast_to(low, shape), np.broadcast_to(high, shape))

    def uniform(self, stream: Stream) -> NDArray[np.float64]:
        """Every feature somewhere in its range."""
        level = stream.uniforms(self.low.size).reshape(self.low.shape)
        return self.low + level * (self.high - self.low)

    def blend(self, stream: Stream) -> NDArray[np.float64]:
        """Two different samples, the first with a share in [0.35, 0.65)."""
        count = len(self.samples)
        first = int(stream.integers(1, count)[0])
        second = (first + 1 + int(stream.integers(1, count - 1)[0])) % count
        share = 0.35 + 0.3 * float(stream.uniforms(1)[0])
        mixed: NDArray[np.float64] = (
            share * self.samples[first] + (1 - share) * self.samples[second]
        )
        return mixed


def _salt(stream: Stream, sources: Sources) -> NDArray[np.float64]:
    """A few features at an end of their range, the others where it is nearest to zero."""
    low, high = sources.low, sources.high
    quiet = np.clip(0.0, low, high)
    share = min(0.5, max(_SALT_SHARE, _LEAST_SALT / low.size))
    chosen = stream.uniforms(low.size).reshape(low.shape) < share
    # The farther end is the likelier one; an end that is the quiet value itself never comes.
    upper = stream.uniforms(low.size).reshape(low.shape) * (high - low) < high - quiet
    salted: NDArray[np.float64] = np.where(chosen, np.where(upper, high, low), quiet)
    return salted


def _noise(stream: Stream, sources: Sources) -> NDArray[np.float64]:
    """Uniform noise in the range of the features."""
    return sources.uniform(stream)


def _blend(stream: Stream, sources: Sources) -> NDArray[np.float64]:
    """A blend of two samples."""
    return sources.blend(stream)


def _noisy_blend(stream: Stream, sources: Sources) -> NDArray[np.float64]:
    """A blend of two samples under 60% of noise."""
    blend = sources.blend(stream)
    return (1 - _NOISE_SHARE) * blend + _NOISE_SHARE * sources.uniform(stream)


def _flipped(stream: Stream, sources: Sources) -> NDArray[np.float64]:
    """A sample with a tenth of its features mirrored in their range: the least conspicuous."""
    sample = sources.samples[int(stream.integers(1, len(sources.samples))[0])]
    chosen = stream.uniforms(sample.size).reshape(sample.shape) < _FLIPPED_SHARE
    flipped: NDArray[np.float64] = np.where(chosen, sources.low + sources.high - sample, sample)
    return flipped


FAMILIES: dict[str, Callable[[Stream, Sources], NDArray[np.float64]]] = {
    "salt": _salt,
    "noise": _noise,
    "blend": _blend,
    "noisy_blend": _noisy_blend,
    "flipped": _flipped,
}


def make_queries(
    family: str, key: bytes, numbers: NDArray[np.int64], samples: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Makes candidates of a family; each draws from a stream of its own.

    Args:
        family: Name of the family.
        key: 32 bytes, for queries only.
        numbers: int64 [n], names of the candidates.
        samples: float32 [sources, ...], at least two.

    Returns:
        float32 [n, ...]. Sums are in double precision and rounded once, so that every platform
        gives the same bits.

    Raises:
        ConfigurationError: There is no such family.

    Examples:
        >>> samples = np.array([[0, 1, 2], [1, 0, 0]], dtype=np.float32)
        >>> make_queries("salt", bytes(32), np.arange(2), samples).tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 2.0]]
    """
    if family not in FAMILIES:
        raise ConfigurationError(
            f"no family of queries is named '{family}'", advice=f"use one of: {', '.join(FAMILIES)}"
        )
    make, sources = FAMILIES[family], Sources.of(samples)
    queries = np.empty((len(numbers), *samples.shape[1:]), dtype=np.float32)
    for row, number in enumerate(numbers):
        queries[row] = make(Stream(key, f"query {int(number)}"), sources)
    return queries
