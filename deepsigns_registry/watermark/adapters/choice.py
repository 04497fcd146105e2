"""The tap that was chosen, and why."""

from typing import NamedTuple

__all__ = ["TapChoice"]


class TapChoice(NamedTuple):
    """A tap, and why it was chosen.

    Attributes:
        tap: Name of the tap, in the adapter's own naming.
        reason: One sentence for the person who reads the log.
    """

    tap: str
    reason: str
