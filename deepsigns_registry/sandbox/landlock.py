"""Landlock: which files a process may open, whatever its user may (kernel 5.13 and later).

Source: the kernel's `Documentation/userspace-api/landlock.rst`. The numbers are those of its
headers, the same on every architecture.
"""

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from deepsigns_registry.sandbox.kernel import call

__all__ = ["confine", "confine_all_but", "version"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
# Removing and making entries of folders; of these, what is neither a device, a socket nor a link.
_CHANGE_DIR, _PLAIN = 0b1111111110000, 0b0000110110000
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_CHANGING = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _REFER | _PLAIN
_READING = _EXECUTE | _READ_FILE | _READ_DIR
# From which version on the kernel knows each.
_FIRST_FILES = _OF_FILES & ~_TRUNCATE & ~_IOCTL_DEVICE | _READ_DIR | _CHANGE_DIR
_LATER_FILES = ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEVICE))
_TCP, _TCP_SINCE = 0b11, 4
_ABSTRACT_SOCKETS_AND_SIGNALS, _SCOPED_SINCE = 0b11, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_files", ctypes.c_uint64),
        ("handled_network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of Landlock's interface that the kernel has, 0 for none."""
    with suppress(OSError):
        return call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return 0


def confine(
    readable: Iterable[Path], writable: Iterable[Path], devices: Iterable[Path] = ()
) -> None:
    """From now on this thread and what it starts may open nothing else.

    Nor may it use TCP, or signal what is outside, as far as the kernel's version goes.

    Args:
        readable: Files and folders to read and execute, with all that is in them; what does not
            exist is left out.
        writable: Folders to change as well.
        devices: Files to read, write and control.

    Raises:
        OSError: The kernel has no Landlock, or refuses.
    """
    files = _known_files()
    rules = [(path, files & _READING) for path in readable]
    rules += [(path, files & _CHANGING) for path in writable]
    rules += [(path, files & (_READ_FILE | _WRITE_FILE | _IOCTL_DEVICE)) for path in devices]
    _restrict(rules, network=True)


def confine_all_but(hidden: Iterable[Path]) -> None:
    """From now on this thread and what it starts may open everything but these.

    What is made later beside a hidden file, or beside a folder on its way, is closed as well.
    Folders may be listed, these too. The network stays open.

    Args:
        hidden: Files and folders; what does not exist hides nothing.

    Raises:
        OSError: The kernel has no Landlock, or refuses.
    """
    files = _known_files()
    closed = {path.resolve() for path in hidden if path.exists()}
    rules = [(Path("/"), files & _READ_DIR)]
    rules += [(path, files) for path in _around(Path("/"), closed)]
    _restrict(rules, network=False)


def _around(folder: Path, closed: set[Path]) -> Iterator[Path]:
    """What is in a folder, and in those on the way to what is closed, without that."""
    if not any(path.is_relative_to(folder) for path in closed):
        yield folder
        return
    if folder in closed:
        return
    for entry in folder.iterdir():
        # A link opens what it leads to, which is somewhere else.
        if not entry.is_symlink():
            yield from _around(entry, closed)


def _known_files() -> int:
    known = version()
    if not known:
        raise OSError("this kernel has no Landlock")
    files = _FIRST_FILES
    for since, right in _LATER_FILES:
        files |= right if known >= since else 0
    return files


def _restrict(allowed: Iterable[tuple[Path, int]], *, network: bool) -> None:
    known = version()
    rules = _Ruleset(
        _known_files(),
        _TCP if network and known >= _TCP_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if network and known >= _SCOPED_SINCE else 0,
    )
    # Older kernels refuse what they do not know unless it is left out.
    length = 24 if known >= _SCOPED_SINCE else 16 if known >= _TCP_SINCE else 8
    ruleset = call("syscall", _CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(length), 0)
    try:
        for path, rights in allowed:
            _allow(ruleset, path, rights)
        call("syscall", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _PathBeneath(rights if path.is_dir() else rights & _OF_FILES, place)
        call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(place)
