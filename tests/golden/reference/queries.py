"""Section 7.1: the candidates for queries of the black box, by family."""

import math
from collections.abc import Sequence

from tests.golden.reference.keys import purpose
from tests.golden.reference.stream import Bytes


def ranges(
    chosen: Sequence[Sequence[float]], shape: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Smallest and largest value that each element may have."""
    size = math.prod(shape)
    together = {1: 1, 2: size}.get(len(shape), size // shape[0])
    low, high = [], []
    for place in range(size):
        start = place // together * together
        among = [value for source in chosen for value in source[start : start + together]]
        low.append(min(among))
        high.append(max(among))
    return low, high


def query(
    family: str, key: bytes, number: int, chosen: Sequence[Sequence[float]], shape: Sequence[int]
) -> list[float]:
    """One candidate before it is rounded to float32, from the elements of all sources."""
    stream = Bytes(purpose(key, "queries"), f"query {number}")
    low, high = ranges(chosen, shape)
    size = len(low)

    def noise() -> list[float]:
        drawn = stream.uniforms(size)
        return [low[e] + drawn[e] * (high[e] - low[e]) for e in range(size)]

    def blend() -> list[float]:
        a = stream.integers(1, len(chosen))[0]
        b = (a + 1 + stream.integers(1, len(chosen) - 1)[0]) % len(chosen)
        w = 0.35 + 0.3 * stream.uniforms(1)[0]
        return [w * chosen[a][e] + (1 - w) * chosen[b][e] for e in range(size)]

    if family == "noise":
        return noise()
    if family == "blend":
        return blend()
    if family == "noisy_blend":
        mixed = blend()
        return [(1 - 0.6) * one + 0.6 * other for one, other in zip(mixed, noise(), strict=True)]
    if family == "flipped":
        x = chosen[stream.integers(1, len(chosen))[0]]
        u = stream.uniforms(size)
        return [low[e] + high[e] - x[e] if u[e] < 0.1 else x[e] for e in range(size)]
    u, v = stream.uniforms(size), stream.uniforms(size)
    made = []
    for e in range(size):
        quiet = min(max(0.0, low[e]), high[e])
        end = high[e] if v[e] * (high[e] - low[e]) < high[e] - quiet else low[e]
        made.append(end if u[e] < min(0.5, max(0.1, 16 / size)) else quiet)
    return made
