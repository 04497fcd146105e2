"""The scalar product that sections 7 and 8 share: every product summed, rounded once."""

import math
from collections.abc import Sequence


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))
