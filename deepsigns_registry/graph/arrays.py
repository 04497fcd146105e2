"""Reading an array that a stranger's process wrote."""

import io
import os
import stat
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

__all__ = ["read_matrix"]

_LONGEST_HEADER = 1000


def read_matrix(path: Path, *, most_bytes: int) -> NDArray[np.float32]:
    """Reads a `.npy` file of float32 [rows, columns]; nothing else in it is looked at.

    Args:
        path: The file; links and devices are refused.
        most_bytes: Of the file.

    Raises:
        OSError: It cannot be read, or is no file.
        ValueError: It holds something else.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
            raise ValueError("no file of this size")
        start = io.BytesIO(file.read(_LONGEST_HEADER + 16))
        if npy.read_magic(start) != (1, 0):
            raise ValueError("another version of the format")
        try:
            shape, by_columns, kind = npy.read_array_header_1_0(
                start, max_header_size=_LONGEST_HEADER
            )
        except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
            raise ValueError("no header of an array") from error
        size = prod(shape) * kind.itemsize
        if len(shape) != 2 or kind != np.float32 or size != status.st_size - start.tell():
            raise ValueError("no float32 matrix")
        file.seek(start.tell())
        values = np.frombuffer(file.read(size), np.float32)
    return values.reshape(shape, order="F" if by_columns else "C").copy()
