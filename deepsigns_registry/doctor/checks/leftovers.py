"""Temporary folders of ours that nobody uses any more: of a process that was killed."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.check import Line
from deepsigns_registry.doctor.checks.stores import nearest_folder
from deepsigns_registry.naming import command

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

_PREFIXES = ("deepsigns-", ".deepsigns-", ".draft-")
_MOST_ENTRIES, _MOST_BYTES = 20_000, 1 << 20
_DAY = 86_400.0
_PROCESSES = Path("/proc")


def check(settings: "Settings") -> Iterator[Line]:
    """Looks where temporary folders are made; removes none of them.

    Raises:
        DeepSignsError: A setting names no path.
    """
    old = max(_DAY, 2 * settings.sandbox.audit_seconds)
    places = {
        nearest_folder(path).resolve()
        for path in (
            Path(tempfile.gettempdir()),
            settings.base,
            settings.file(settings.keystore.uri),
            settings.checkpoints,
            settings.base / settings.audit.reports,
        )
    }
    found = [folder for folder, age in _folders(places) if age > old]
    used = _used(found)
    left = sorted(folder for folder in found if folder not in used)
    if not left:
        yield Line("ok", "no temporary folder of a killed process is left")
        return
    yield Line(
        "attention",
        f"{len(left)} temporary folders of ours are older than {old / 3600:.0f} hours and used by "
        f"no process of this user, such as {left[0]}",
        f"when no command of deepsigns runs: {command('rm', '-r', *left[:5])}",
    )


def _folders(places: Iterable[Path]) -> Iterator[tuple[Path, float]]:
    """Folders of ours and of this user, with the seconds since something changed in them."""
    now = time.time()
    for place in places:
        with suppress(OSError), os.scandir(place) as entries:
            for entry in islice(entries, _MOST_ENTRIES):
                with suppress(OSError):
                    if not entry.name.startswith(_PREFIXES):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False) and status.st_uid == os.geteuid():
                        yield Path(entry.path), now - max(status.st_mtime, _newest(entry.path))


def _newest(folder: str) -> float:
    with suppress(OSError), os.scandir(folder) as entries:
        inside = (entry.stat(follow_symlinks=False) for entry in islice(entries, _MOST_ENTRIES))
        return max((status.st_mtime for status in inside), default=0.0)
    return 0.0


def _used(folders: list[Path]) -> set[Path]:
    """Those that a process works in, holds open or was told of, as far as this user may see."""
    used: set[Path] = set()
    if not folders or not _PROCESSES.is_dir():
        return used
    for process in _PROCESSES.iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            said = _mentioned(process)
            used |= {folder for folder in folders if os.fsencode(folder) in said}
    return used


def _mentioned(process: Path) -> bytes:
    """The paths that a process holds, in one text."""
    found = [b""]
    links = [process / "cwd", process / "root"]
    with suppress(OSError):
        links += list(islice((process / "fd").iterdir(), _MOST_ENTRIES))
    for link in links:
        with suppress(OSError):
            found.append(os.fsencode(link.readlink()))
    for name in ("cmdline", "environ", "maps"):
        with suppress(OSError), (process / name).open("rb") as file:
            found.append(file.read(_MOST_BYTES))
    return b"\n".join(found)
