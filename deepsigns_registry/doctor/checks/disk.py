"""Whether there is room for what is downloaded, unpacked and kept."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.check import Line
from deepsigns_registry.doctor.checks.stores import nearest_folder

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

_MIB = 2**20
_LEAST = 256 * _MIB
_KEPT = 1024 * _MIB


def check(settings: "Settings") -> Iterator[Line]:
    """Asks how much is free where temporary files, secrets and reports go.

    Raises:
        DeepSignsError: A setting names no path.
    """
    bounds = settings.sandbox
    # A file, its copy in the room and what comes out of it; of most models far less.
    largest = (2 * bounds.file_mib + bounds.output_mib) * _MIB
    places = {
        "temporary files": (Path(tempfile.gettempdir()), largest),
        "key store": (settings.file(settings.keystore.uri), _KEPT),
        "checkpoints": (settings.checkpoints, _KEPT),
        "audit reports": (settings.base / settings.audit.reports, _KEPT),
    }
    for what, (path, wanted) in places.items():
        try:
            free = shutil.disk_usage(nearest_folder(path)).free
        except OSError as error:
            yield Line("unchecked", f"{what} {path}: {error.strerror}")
            continue
        said = f"{what} {path}: {free / 2**30:,.1f} GiB free"
        if free >= wanted:
            yield Line("ok", said)
            continue
        yield Line(
            "wrong" if free < _LEAST else "attention",
            f"{said}, and up to {wanted / 2**30:,.1f} GiB may be needed",
            "make room, or name another place (TMPDIR for temporary files)",
        )
