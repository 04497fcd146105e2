"""The size that a deployed file may have, and the copy that stops there."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["CHUNK", "SIZE_LIMIT", "too_large", "write_limited"]

# ONNX is a protobuf message, and those end at 2 GiB: no single file can rightly be larger.
SIZE_LIMIT = 2 * 1024**3
CHUNK = 1024 * 1024


def write_limited(chunks: Iterable[bytes], copy: Path, *, name: str, limit: int) -> Path:
    """Writes chunks to a new private file, and leaves no file behind when they are too many.

    Args:
        chunks: The content, piece by piece; read no further than the limit.
        copy: The file to make; it must not exist.
        name: What a person calls the source, for the error.
        limit: Bytes at most.

    Raises:
        CouldNotCheckError: The content is larger than the limit.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     write_limited([b"ab", b"cd"], folder / "copy", name="x", limit=4).read_bytes()
        b'abcd'
    """
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in _limited(chunks, name, limit):
                file.write(chunk)
    except BaseException:
        copy.unlink()
        raise
    return copy


def _limited(chunks: Iterable[bytes], name: str, limit: int) -> Iterator[bytes]:
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > limit:
            raise too_large(name, limit)
        yield chunk


def too_large(name: str, limit: int) -> CouldNotCheckError:
    """The error of a file over the limit.

    Examples:
        >>> str(too_large("model.onnx", 2048))
        'model.onnx: larger than 2048 bytes; an ONNX file is never larger than 2 GiB'
    """
    return CouldNotCheckError(
        f"{name}: larger than {limit} bytes", advice="an ONNX file is never larger than 2 GiB"
    )
