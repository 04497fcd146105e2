"""Nothing that a process does gains it a privilege, and those it has are gone."""

import ctypes
import signal
import struct
from contextlib import suppress

from deepsigns_registry.sandbox.kernel import call

__all__ = ["end_with_parent", "gain_none", "give_up", "hide"]

_SET_NO_NEW_PRIVILEGES, _DROP_OF_BOUNDING_SET, _SET_DUMPABLE, _END_WITH_PARENT = 38, 24, 4, 1
_MOST_CAPABILITIES = 64
_VERSION = 0x20080522


def gain_none() -> None:
    """No program that is started has more privileges than this process.

    Raises:
        OSError: The kernel refuses.
    """
    call("prctl", _SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def give_up() -> None:
    """Gives up every capability, those of root included.

    Raises:
        OSError: The kernel refuses.
    """
    for number in range(_MOST_CAPABILITIES):
        # Those that the kernel does not know, and all of an ordinary user.
        with suppress(OSError):
            call("prctl", _DROP_OF_BOUNDING_SET, number, 0, 0, 0)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION, 0))
    call("capset", header, ctypes.create_string_buffer(bytes(24)))


def hide() -> None:
    """No other process of this user can look into this one.

    Raises:
        OSError: The kernel refuses.
    """
    call("prctl", _SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """This process is killed when the thread that started it ends.

    Raises:
        OSError: The kernel refuses.
    """
    call("prctl", _END_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
