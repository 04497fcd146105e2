"""What is read, and what reading it came to."""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["DEADLINE", "MEMORY", "Case", "Outcome"]

DEADLINE = 20.0
"""Seconds that running one file may take; everything about it may take half as much more."""

MEMORY = 2**30
"""Resident bytes that a room may have."""

_MOST_SECONDS = 1.5 * DEADLINE
_MOST_GROWTH = 3 * 2**29
_MOST_IN_ROOM = 1.5 * MEMORY


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        kind: What makes it.
        name: Of the trick, or the number of the mutant.
    """

    kind: Literal["mutant", "trick", "evidence"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass
class Outcome:
    """What reading one file came to.

    Attributes:
        said: The verdict or the error, in a line.
        accepted: Whether it was taken for what it is not.
        traceback: What came that was none of our errors; empty when nothing did.
        seconds: Wall time.
        waited: Seconds of these in which it could have run, and others did: of a busy machine.
        grown: Bytes by which our own process grew, at the most.
        room: Resident bytes of the processes that it started, at the most.
        left: Processes that were still there afterwards.
        lookups: Connections and look-ups of names that it asked for.
        kept: Files to keep for whoever looks for the fault.
    """

    said: str = ""
    accepted: bool = False
    traceback: str = ""
    seconds: float = 0.0
    waited: float = 0.0
    grown: int = 0
    room: int = 0
    left: int = 0
    lookups: int = 0
    kept: list[str] = field(default_factory=list)

    @property
    def over_time(self) -> bool:
        """Whether it took more than half as much again as the deadline."""
        return self.seconds - self.waited > _MOST_SECONDS

    @property
    def over_memory(self) -> bool:
        """Whether our process grew too much, or the room's exceeded its bound by half."""
        return self.grown > _MOST_GROWTH or self.room > _MOST_IN_ROOM

    @property
    def faults(self) -> tuple[str, ...]:
        """What must not be, by the names of the summary."""
        found = {
            "accepted": self.accepted,
            "tracebacks": bool(self.traceback),
            "over_time": self.over_time,
            "over_memory": self.over_memory,
            "left_processes": self.left > 0,
            "lookups": self.lookups > 0,
        }
        return tuple(name for name, there in found.items() if there)
