"""What a stranger's file cannot do on this machine, and whether that is enough."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.check import Line
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.sandbox.room import RoomError, tried_here

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]


def check(settings: "Settings") -> Iterator[Line]:
    """Tries every door of an empty room.

    Raises:
        CouldNotCheckError: No room could be opened.
    """
    try:
        doors = tried_here()
    except RoomError as error:
        raise CouldNotCheckError(f"the room's first process {error}") from None
    if not doors.open:
        yield Line("ok", f"every door of the room is closed, by {', '.join(doors.layers)}")
        return
    required = settings.sandbox.require == "full"
    yield Line(
        "wrong" if required else "attention",
        f"of the room are {doors.said}" + (", and [sandbox] requires all closed" * required),
        "let containers make user namespaces and use seccomp, or take a kernel with Landlock; "
        "see: deepsigns sandbox",
    )
