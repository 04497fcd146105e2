"""What is closed in a room, found by trying to get out."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

from deepsigns_registry.sandbox.kernel import call

__all__ = ["Doors", "tried"]

_GET_NO_NEW_PRIVILEGES, _GET_SECCOMP, _FILTERED = 39, 21, 2


@dataclass(frozen=True)
class Doors:
    """What a process in the room cannot do.

    Attributes:
        files: Open a file that was not handed over.
        network: Have a socket.
        processes: Start another process or signal one.
        calls: Ask the kernel for what a computation does not need.
        privileges: Gain one by starting a program.
        layers: Names of what the kernel gave for it.
    """

    files: bool = False
    network: bool = False
    processes: bool = False
    calls: bool = False
    privileges: bool = False
    layers: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the doors that are not closed.

        Examples:
            >>> Doors(files=True, network=True, processes=True).open
            ('calls', 'privileges')
        """
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is False)

    @property
    def said(self) -> str:
        """The same for people.

        Examples:
            >>> Doors(files=True, calls=True, privileges=True, layers=("Landlock 7",)).said
            'closed: files, calls, privileges; open: network, processes; by Landlock 7'
        """
        closed = [field.name for field in fields(self) if getattr(self, field.name) is True]
        parts = (("closed: ", closed), ("open: ", self.open), ("by ", self.layers))
        return "; ".join(word + ", ".join(names) for word, names in parts if names) or "none"

    def to_json(self) -> dict[str, object]:
        """As one object of JSON."""
        return {**asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Self:
        """What `to_json` gave.

        Raises:
            ValueError: It is something else.
        """
        layers = content.get("layers")
        names = [field.name for field in fields(cls) if field.name != "layers"]
        closed = {name: content.get(name) for name in names}
        if not isinstance(layers, Sequence) or not all(
            isinstance(value, bool) for value in closed.values()
        ):
            raise ValueError("these are no doors of a room")
        return cls(
            **{name: value is True for name, value in closed.items()},
            layers=tuple(map(str, layers)),
        )


def tried(forbidden: str, parent: int, layers: Sequence[str]) -> Doors:
    """Tries every door of the room that this process is in.

    Args:
        forbidden: A file that exists, and that was not handed over.
        parent: Number of a process outside.
        layers: What the kernel gave.
    """
    return Doors(
        files=not _opens(forbidden),
        network=not _connects(),
        processes=not _starts() and not _signals(parent),
        calls=_asked(_GET_SECCOMP) == _FILTERED,
        privileges=_asked(_GET_NO_NEW_PRIVILEGES) == 1,
        layers=tuple(layers),
    )


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def _connects() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def _starts() -> bool:
    try:
        child = os.fork()
    except OSError:
        return False
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def _signals(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _asked(what: int) -> int:
    try:
        return call("prctl", what, 0, 0, 0, 0)
    except OSError:
        return 0
