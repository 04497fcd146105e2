"""Arrays of unknown origin in numpy's `.npy` format, version 1.0 to 3.0, of plain numbers.

numpy reads the header as a Python literal, with Python's own tokenizer and parser, and makes room
for what it claims before it looks for it. Here a header has the one spelling that numpy writes
(`numpy.lib.format`), and its claim has to be what is there.
"""

import math
import re
import struct

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.bounded.unreadable import UnreadableError

__all__ = ["read_array"]

_MAGIC = b"\x93NUMPY"
# Bytes of the header's length, by version.
_LENGTHS = {b"\x01\x00": "<H", b"\x02\x00": "<I", b"\x03\x00": "<I"}
_MOST_HEADER = 4096
# numpy's own bound is 64 axes; an extent is below 2**63.
_MOST_AXES = 64
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>[<>|=]?(?:b1|[iu][1248]|f[248]|c8|c16|[SU][0-9]{1,6}))', "
    rb"'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:[0-9]{1,18}(?:, [0-9]{1,18})*)?,?)\), \} *\n"
)


def read_array(content: bytes | bytearray) -> NDArray[np.generic]:
    """Reads one array; nothing may follow it.

    Args:
        content: The file's whole content.

    Returns:
        The array. It looks at `content` and copies nothing: it can be written to where `content`
        is a bytearray.

    Raises:
        UnreadableError: It is no such array, holds other bytes than its header says, or anything
            but numbers, truth values or text of fixed length.

    Examples:
        >>> import io
        >>> file = io.BytesIO()
        >>> np.save(file, np.arange(3, dtype=np.int64))
        >>> read_array(file.getvalue())
        array([0, 1, 2])
    """
    head = bytes(content[:12])
    length = _LENGTHS.get(head[6:8])
    if not head.startswith(_MAGIC) or length is None or len(head) < 12:
        raise UnreadableError("is no array")
    start = 8 + struct.calcsize(length)
    (size,) = struct.unpack(length, head[8:start])
    if size > _MOST_HEADER or start + size > len(content):
        raise UnreadableError("is an array with too long a header")
    header = _HEADER.fullmatch(bytes(content[start : start + size]))
    if header is None:
        raise UnreadableError("is an array with an odd header, or of no plain numbers")
    extents = [int(extent) for extent in re.findall(rb"[0-9]+", header["shape"])]
    if len(extents) > _MOST_AXES:
        raise UnreadableError(f"is an array of more than {_MOST_AXES} axes")
    kind = np.dtype(header["kind"].decode())
    count = math.prod(extents)
    # Text of no length at all takes no bytes, however much of it is claimed.
    if not kind.itemsize or count * kind.itemsize != len(content) - start - size:
        raise UnreadableError("is an array of another size than its header says")
    try:
        flat: NDArray[np.generic] = np.frombuffer(content, kind, offset=start + size, count=count)
        if header["fortran"] == b"True":
            return flat.reshape(extents[::-1]).transpose()
        return flat.reshape(extents)
    except (ValueError, OverflowError):
        raise UnreadableError("is an array of a shape that numpy does not take") from None
