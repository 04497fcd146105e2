"""Reading an array that a stranger's process wrote."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.bounded.arrays import read_array
from deepsigns_registry.bounded.regular import read_regular

__all__ = ["read_matrix"]


def read_matrix(path: Path, *, most_bytes: int) -> NDArray[np.float32]:
    """Reads a `.npy` file of float32 [rows, columns]; nothing else in it is looked at.

    Args:
        path: The file; links and devices are refused.
        most_bytes: Of the file.

    Raises:
        OSError: It cannot be read, or is a link.
        ValueError: It holds something else.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     np.save(folder / "rows.npy", np.ones((2, 3), np.float32))
        ...     read_matrix(folder / "rows.npy", most_bytes=1000).shape
        (2, 3)
    """
    values = read_array(read_regular(path, most_bytes=most_bytes, follow=False))
    if values.ndim != 2 or values.dtype != np.float32:
        raise ValueError("no float32 matrix")
    return values.astype(np.float32)
