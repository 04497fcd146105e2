"""Files that a person or a setting names: read whole, within a bound, and without waiting."""

import os
import stat
from pathlib import Path

from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError

__all__ = ["read_regular"]


def read_regular(path: Path, *, most_bytes: int, follow: bool = True) -> bytes:
    """Reads a regular file; a link to one is followed, since secrets are mounted as links.

    Args:
        path: The file. A pipe without a writer does not block: it is refused like a device.
        most_bytes: Its length at most.
        follow: Whether it may be a link; not in a folder that a stranger may change.

    Raises:
        FileNotFoundError: There is no such file.
        UnreadableError: It is no regular file, or longer.
        OSError: It cannot be read.

    Examples:
        >>> read_regular(Path("/dev/zero"), most_bytes=100)
        Traceback (most recent call last):
        deepsigns_registry.bounded.unreadable.UnreadableError: is not a regular file
    """
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except ValueError:
        raise UnreadableError("is no name of a file") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableError("is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise TooLargeError(f"is longer than {most_bytes} bytes")
    return content
