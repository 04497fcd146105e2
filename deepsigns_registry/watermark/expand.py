"""Long pseudo-random strings from a short key.

A key must expand to the same values in ten years, so nothing here uses numpy's or torch's
generators: every value is read from the output of SHAKE-256 (FIPS 202) by a fixed rule, and
golden vectors in the tests pin the rules.
"""

from functools import cache
from hashlib import shake_256
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["DOMAIN", "Stream", "encode"]

DOMAIN = b"deepsigns-registry/v0"
_GAUSSIAN_LEVELS = 1 << 16
_GAUSSIAN_GRID = 1 << 12


def encode(*parts: bytes) -> bytes:
    r"""Joins byte strings so that no two different lists give the same bytes.

    Each part stands after its length as 8 big-endian bytes.

    Examples:
        >>> encode(b"ab", b"c") == encode(b"a", b"bc")
        False
        >>> encode(b"ab")
        b'\x00\x00\x00\x00\x00\x00\x00\x02ab'
    """
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


class Stream:
    """The bytes of SHAKE-256 over (domain, label, seed), read from front to back.

    Each draw takes the next bytes of the one stream, so the order of draws is part of a
    derivation. All numbers are little-endian.

    Args:
        seed: The key.
        label: What the values are for; two labels give unrelated streams.

    Examples:
        >>> Stream(bytes(32), "example").bits(8).tolist()
        [1, 1, 0, 0, 1, 0, 0, 0]
    """

    def __init__(self, seed: bytes, label: str) -> None:
        self._state = shake_256(encode(DOMAIN, b"stream", label.encode(), seed))
        self._buffer = b""
        self._cursor = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._cursor + count
        if end > len(self._buffer):
            # An extendable-output function has no cursor; doubling keeps the cost linear.
            self._buffer = self._state.digest(max(end, 2 * len(self._buffer), 256))
        taken = self._buffer[self._cursor : end]
        self._cursor = end
        return taken

    def bits(self, count: int) -> NDArray[np.int8]:
        """Fair bits, lowest bit of each byte first: int8 [count] of 0 and 1."""
        taken = np.frombuffer(self.take(-(-count // 8)), dtype=np.uint8)
        return np.unpackbits(taken, count=count, bitorder="little").astype(np.int8)

    def integers(self, count: int, below: int) -> NDArray[np.int64]:
        """Uniform integers in [0, below), by rejection from 64-bit words: int64 [count]."""
        if not 1 <= below <= 1 << 62:
            raise ValueError(f"below is {below}: it must be from 1 to 2**62")
        # Words at or above the largest multiple of `below` would favour small remainders.
        limit = (1 << 64) - (1 << 64) % below
        kept = np.empty(0, dtype=np.uint64)
        while len(kept) < count:
            words = np.frombuffer(self.take(8 * (count - len(kept))), dtype="<u8")
            kept = np.concatenate([kept, words[words <= np.uint64(limit - 1)]])
        return (kept % np.uint64(below)).astype(np.int64)

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """Multiples of 2**-24 in [0, 1), from three bytes each: float64 [count]."""
        return self.integers24(count) / float(1 << 24)

    def integers24(self, count: int) -> NDArray[np.int64]:
        """Uniform integers in [0, 2**24), from three bytes each: int64 [count]."""
        words = np.zeros((count, 4), dtype=np.uint8)
        words[:, :3] = np.frombuffer(self.take(3 * count), dtype=np.uint8).reshape(count, 3)
        return words.view("<u4")[:, 0].astype(np.int64)

    def gaussians(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Standard normal values by a fixed-grid inverse distribution: float32 [*shape].

        A 16-bit word u becomes the normal quantile of (u + 1/2) / 2**16, rounded to a multiple
        of 2**-12, so that the last bit of a platform's mathematics library does not matter.
        """
        count = int(np.prod(shape, dtype=np.int64))
        words = np.frombuffer(self.take(2 * count), dtype="<u2")
        return np.asarray(_gaussian_table()[words].reshape(shape), dtype=np.float32)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """A uniform order of 0 ... count-1 (Fisher and Yates, from the back): int64 [count]."""
        order = np.arange(count, dtype=np.int64)
        for last in range(count - 1, 0, -1):
            chosen = int(self.integers(1, last + 1)[0])
            order[[last, chosen]] = order[[chosen, last]]
        return order


@cache
def _gaussian_table() -> NDArray[np.float32]:
    quantile = NormalDist().inv_cdf
    levels = ((word + 0.5) / _GAUSSIAN_LEVELS for word in range(_GAUSSIAN_LEVELS // 2))
    lower = np.array([round(quantile(level) * _GAUSSIAN_GRID) for level in levels])
    grid = np.concatenate([lower, -lower[::-1]]).astype(np.float32)
    return grid / np.float32(_GAUSSIAN_GRID)
