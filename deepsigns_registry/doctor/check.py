"""What a check of an installation is, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self

from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["Check", "Line", "Standing", "attempted"]

Standing = Literal["ok", "attention", "wrong", "unchecked"]
"""`attention` can be right on this machine; `unchecked` is neither right nor wrong."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        standing: How it stands.
        message: What was found.
        advice: What to do about it; empty where nothing is to be done.
    """

    standing: Standing
    message: str
    advice: str = ""

    @classmethod
    def of_error(cls, error: DeepSignsError) -> Self:
        """What an error says of the thing that was looked at.

        Examples:
            >>> Line.of_error(CouldNotCheckError("the server does not answer")).standing
            'unchecked'
        """
        standing: Standing = "unchecked" if isinstance(error, CouldNotCheckError) else "wrong"
        return cls(standing, error.message, error.advice)


class Check(Protocol):
    """Looks at one side of an installation; it changes nothing that stays."""

    def __call__(self, settings: "Settings", /) -> Iterator[Line]:
        """Says what it finds, line by line.

        Raises:
            DeepSignsError: What it finds next is this, and the last.
        """


def attempted(look: Callable[[], Line]) -> Line:
    """What a look finds; its error where it ends in one."""
    try:
        return look()
    except DeepSignsError as error:
        return Line.of_error(error)
