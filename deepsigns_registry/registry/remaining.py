"""How long the rest of a job takes, by how long the first part took."""

import time
from collections.abc import Callable

__all__ = ["Remaining"]

# Before this share and this time the beginning says nothing about the rest.
_SHARE = 0.05
_SECONDS = 5.0


class Remaining:
    """Estimates the time that is left of a job that begins now.

    Args:
        clock: Seconds that go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()

    def seconds(self, share: float) -> float | None:
        """Seconds that are left; None while nothing can be said.

        Args:
            share: How much is done, in [0, 1].

        Examples:
            >>> now = iter([0.0, 30.0])
            >>> Remaining(lambda: next(now)).seconds(0.25)
            90.0
        """
        passed = self._clock() - self._started
        if share < _SHARE or passed < _SECONDS:
            return None
        return round(passed * (1 - share) / share, 1)
