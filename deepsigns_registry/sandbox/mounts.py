"""A root folder that holds what was handed over and nothing else; mount_namespaces(7)."""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from deepsigns_registry.sandbox.kernel import call
from deepsigns_registry.sandbox.seccomp import number_of

__all__ = ["move_into"]

_BIND, _REMOUNT, _RECURSIVE, _PRIVATE = 4096, 32, 16384, 1 << 18
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_PROGRAMS = 1, 2, 4, 8
_DETACH = 2
# A bind of a mount whose owner locked these must keep them.
_KEPT = {
    os.ST_NOSUID: _NO_SETUID,
    os.ST_NODEV: _NO_DEVICES,
    os.ST_NOEXEC: _NO_PROGRAMS,
    os.ST_NOATIME: 1024,
    os.ST_NODIRATIME: 2048,
    os.ST_RELATIME: 1 << 21,
}


def move_into(
    root: Path,
    readable: Iterable[Path],
    writable: Iterable[Path],
    devices: Iterable[Path] = (),
) -> None:
    """Makes a folder the root of this process, with these paths in it where they were.

    Needs a mount namespace of its own, which it changes.

    Args:
        root: An empty folder outside of all other paths.
        readable: Files and folders that can be read; what does not exist is left out.
        writable: Folders that can be changed.
        devices: Devices.

    Raises:
        OSError: The kernel refuses.
    """
    _mount(None, "/", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", root, _NO_SETUID | _NO_DEVICES, kind="tmpfs", options="size=1m,mode=755")
    for path in _outermost(readable):
        _show(root, path, _READ_ONLY | _NO_SETUID | _NO_DEVICES)
    for path in writable:
        _show(root, path, _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS)
    for path in devices:
        _show(root, path, _NO_SETUID | _NO_PROGRAMS)
    _processes(root)
    here = Path.cwd()
    old = root / ".old"
    old.mkdir()
    os.chdir(root)
    call("syscall", number_of("pivot_root"), b".", b".old")
    os.chdir("/")
    call("umount2", b"/.old", _DETACH)
    Path("/.old").rmdir()
    _mount(None, "/", _BIND | _REMOUNT | _READ_ONLY | _NO_SETUID | _NO_DEVICES)
    os.chdir(here)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that exist, each at its real place, without what another one holds already."""
    found: list[Path] = []
    for path in sorted({path for path in paths if path.exists()}, key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def _show(root: Path, path: Path, flags: int) -> None:
    place = root / path.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.symlink_to(path.readlink())
        return
    if path.is_dir():
        place.mkdir(exist_ok=True)
    elif not place.exists():
        place.touch()
    _mount(str(path), place, _BIND | _RECURSIVE)
    for option, kept in _KEPT.items():
        flags |= kept if os.statvfs(place).f_flag & option else 0
    _mount(None, place, _BIND | _REMOUNT | flags)


def _processes(root: Path) -> None:
    """The processes of this namespace, where the kernel shows them."""
    place = root / "proc"
    place.mkdir(exist_ok=True)
    _mount("proc", place, _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS, kind="proc")


def _mount(
    source: str | None,
    target: Path | str,
    flags: int,
    *,
    kind: str | None = None,
    options: str = "",
) -> None:
    call(
        "mount",
        None if source is None else source.encode(),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
