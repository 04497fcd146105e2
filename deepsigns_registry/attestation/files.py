"""Small files written whole or not at all, and never over another one."""

import errno
import os
import stat
import tempfile
from io import BufferedReader
from pathlib import Path

from deepsigns_registry.errors import CouldNotCheckError, NotFoundError, TamperedError

__all__ = [
    "PRIVATE",
    "PUBLIC",
    "create",
    "open_regular",
    "private_folder",
    "read_small",
    "replace",
    "sync_folder",
]

PRIVATE = 0o600
PUBLIC = 0o644


def private_folder(path: Path) -> Path:
    """Makes a folder, and missing parents, that only this user may enter.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     oct(private_folder(folder / "keys").stat().st_mode)
        '0o40700'
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    return path


def create(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Creates a file with its whole content, durably; an existing one is left alone.

    The content is written beside it and linked into place, so that nobody ever reads half of it
    and two processes cannot both succeed.

    Raises:
        FileExistsError: There is something of that name already.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     create(folder / "key", b"secret")
        ...     create(folder / "key", b"another")
        Traceback (most recent call last):
        FileExistsError: ...
    """
    temporary = _write_beside(path, content, mode)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def replace(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Writes a file durably, in the place of one of that name.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     for content in (b"old", b"new"):
        ...         replace(folder / "state", content)
        ...     (folder / "state").read_bytes()
        b'new'
    """
    temporary = _write_beside(path, content, mode)
    temporary.replace(path)
    sync_folder(path.parent)


def open_regular(path: Path) -> BufferedReader:
    """Opens a regular file for reading; never waits for a pipe, never follows a link.

    Raises:
        NotFoundError: There is no such file.
        TamperedError: It is a symbolic link or a special file.
        CouldNotCheckError: It cannot be opened.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except ValueError:
        raise CouldNotCheckError(f"{path}: is no name of a file") from None
    except OSError as error:
        if error.errno == errno.ELOOP:  # what O_NOFOLLOW answers
            raise TamperedError(f"{path}: is a symbolic link, not a file") from None
        raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None
    # Asked before Python opens it: that refuses a folder in its own words.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TamperedError(f"{path}: is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_small(path: Path, *, limit: int = 16 * 2**20) -> bytes:
    """Reads a regular file of bounded size.

    Raises:
        NotFoundError: There is no such file.
        TamperedError: It is no regular file, or longer than `limit` bytes.
        CouldNotCheckError: It cannot be read.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     create(folder / "key", b"secret")
        ...     read_small(folder / "key", limit=100)
        b'secret'
    """
    with open_regular(path) as stream:
        try:
            content = stream.read(limit + 1)
        except OSError as error:
            raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise TamperedError(f"{path}: is longer than {limit} bytes")
    return content


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    # mkstemp creates with 0600, so a secret is never readable by others, not even for a moment.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)
        stream.flush()
        os.fsync(stream.fileno())
    return Path(name)
