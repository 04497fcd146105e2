"""Reading what a process in a room left behind: links and devices are never followed."""

import os
import stat
from pathlib import Path

__all__ = ["read_file"]


def read_file(path: Path, *, most_bytes: int) -> bytes:
    """Reads a file that a stranger may have made.

    Args:
        path: The file.
        most_bytes: How long it may be.

    Raises:
        OSError: It cannot be read, or is a link.
        ValueError: It is no file, or longer.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
            raise ValueError("no file of this size")
        return file.read(most_bytes)
