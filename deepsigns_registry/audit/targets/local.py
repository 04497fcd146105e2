"""A deployed file on this machine, or on a folder that is mounted here."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from deepsigns_registry.audit.targets.limit import CHUNK, SIZE_LIMIT, too_large, write_limited
from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["fetch"]


def fetch(path: Path, copy: Path, *, limit: int = SIZE_LIMIT) -> Path:
    """Copies a regular file.

    Args:
        path: The deployed file; symbolic links in it are followed, since deployments are
            often switched by one.
        copy: The file to make.
        limit: Bytes at most.

    Raises:
        CouldNotCheckError: It is gone, no regular file, unreadable or too large.
    """
    try:
        # A pipe without a writer would block the opening for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise CouldNotCheckError(
            f"{path}: no such file", advice="check the deployment's target in deepsigns.toml"
        ) from None
    except OSError as error:
        raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CouldNotCheckError(
                f"{path}: not a regular file", advice="name the ONNX file itself"
            )
        if status.st_size > limit:
            raise too_large(str(path), limit)
        return write_limited(_chunks(descriptor, path), copy, name=str(path), limit=limit)
    finally:
        os.close(descriptor)


def _chunks(descriptor: int, path: Path) -> Iterator[bytes]:
    try:
        while chunk := os.read(descriptor, CHUNK):
            yield chunk
    except OSError as error:
        raise CouldNotCheckError(f"{path}: cannot be read: {error.strerror}") from None
