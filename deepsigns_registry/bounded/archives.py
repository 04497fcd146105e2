"""Zip files of unknown origin: how much they inflate to is known before anything is inflated."""

import io
import struct
import zipfile
import zlib

from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError

__all__ = ["read_zip"]

# Real arrays of small numbers shrink to a twentieth; a bomb to a thousandth.
_MOST_RATIO = 100
_SMALL = 64 * 2**20
_AT_ONCE = 2**20
# What the library raises on damaged files, besides what it documents.
_ODD = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OSError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
)


def read_zip(content: bytes, *, most_bytes: int, most_entries: int) -> dict[str, bytearray]:
    """Reads every entry of a zip file that is stored or deflated.

    Args:
        content: The file's whole content.
        most_bytes: What all entries inflate to at most.
        most_entries: How many there are at most.

    Returns:
        Name -> content.

    Raises:
        TooLargeError: It would inflate to more than `most_bytes`, or to more than 64 MiB and 100
            times its own size; nothing was inflated.
        UnreadableError: It is no zip file, a damaged one, or one with two entries of one name.

    Examples:
        >>> written = io.BytesIO()
        >>> with zipfile.ZipFile(written, "w") as archive:
        ...     archive.writestr("README.txt", "read me")
        >>> read_zip(written.getvalue(), most_bytes=100, most_entries=1)
        {'README.txt': bytearray(b'read me')}
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            _check(infos, len(content), most_bytes, most_entries)
            return {info.filename: _read(archive, info) for info in infos}
    except UnreadableError:
        raise
    except _ODD:
        raise UnreadableError("is no zip file, or a damaged one") from None


def _check(infos: list[zipfile.ZipInfo], size: int, most_bytes: int, most_entries: int) -> None:
    if len(infos) > most_entries:
        raise TooLargeError(f"holds more than {most_entries} entries")
    inflated = sum(info.file_size for info in infos)
    if inflated > most_bytes:
        raise TooLargeError(f"would inflate to {inflated} bytes, the limit is {most_bytes}")
    if inflated > max(_SMALL, _MOST_RATIO * size):
        raise TooLargeError(
            f"would inflate to {inflated} bytes, more than {_MOST_RATIO} times its own size"
        )
    if len({info.filename for info in infos}) != len(infos):
        raise UnreadableError("holds two entries of one name")
    if any(info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for info in infos):
        raise UnreadableError("is compressed in a way that is not read")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    # The library inflates no more than the entry's own claim, and compares the checksum.
    entry = bytearray()
    with archive.open(info) as stream:
        while chunk := stream.read(_AT_ONCE):
            entry += chunk
    if len(entry) != info.file_size:
        raise UnreadableError("is a damaged zip file, an entry is short")
    return entry
