"""Reading an array that a stranger's process wrote."""

import io
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from deepsigns_registry.sandbox.files import read_file

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
    content = io.BytesIO(read_file(path, most_bytes=most_bytes))
    if npy.read_magic(content) != (1, 0):
        raise ValueError("another version of the format")
    try:
        shape, by_columns, kind = npy.read_array_header_1_0(
            content, max_header_size=_LONGEST_HEADER
        )
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("no header of an array") from error
    values = content.getbuffer()[content.tell() :]
    if len(shape) != 2 or kind != np.float32 or prod(shape) * kind.itemsize != len(values):
        raise ValueError("no float32 matrix")
    order: Literal["C", "F"] = "F" if by_columns else "C"
    return np.frombuffer(values, np.float32).reshape(shape, order=order).copy()
