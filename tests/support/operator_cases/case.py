"""One node with its inputs, how cases are listed by operator, and how their tensors are drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Draw = st.DrawFn
Array = NDArray[Any]


@dataclass
class Case:
    """One node: its inputs (the first is the graph's input), attributes and opset."""

    inputs: list[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 20
    outputs: int = 1
    tolerance: float = 1e-5


class Cases(dict[tuple[str, str], Callable[[Draw], Case]]):
    """What draws a case, by (domain, operator type); the standard domain is the empty string."""

    def add(
        self, *names: str, domain: str = ""
    ) -> Callable[[Callable[[Draw], Case]], Callable[[Draw], Case]]:
        """Lists a function under one or more operator types of a domain."""

        def register(function: Callable[[Draw], Case]) -> Callable[[Draw], Case]:
            self.update({(domain, name): function for name in names})
            return function

        return register


def floats(draw: Draw, *shape: int, low: float = -3.0, high: float = 3.0) -> Array:
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    return generator.uniform(low, high, shape).astype(np.float32)


def shape(draw: Draw, *, least: int = 1, most: int = 4) -> list[int]:
    return draw(st.lists(st.integers(1, 4), min_size=least, max_size=most))


def pair(draw: Draw, low: float = -3.0) -> list[Array | None]:
    """Two tensors that broadcast."""
    extents = shape(draw)
    other = [draw(st.sampled_from([1, extent])) for extent in extents]
    other = other[draw(st.integers(0, len(other) - 1)) :]
    return [floats(draw, *extents, low=low), floats(draw, *other, low=low)]
