"""Seccomp: what a process may ask of the kernel at all.

A list of what a model that computes never needs: sockets, other processes, other programs, mounts,
keys, clocks, modules, and of files whose they are, links and devices, which Landlock leaves alone.
Everything else goes on. The filter is a program for the kernel's packet
filter (`Documentation/userspace-api/seccomp_filter.rst`, `linux/bpf_common.h`); the numbers are
those of the kernel's headers for 64-bit x86 and ARM.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Collection

from deepsigns_registry.sandbox.kernel import call

__all__ = ["DENIED", "deny", "is_known_here", "number_of"]

# Of each call its number on x86-64 and on aarch64; -1 where there is none.
DENIED = {
    "socket": (41, 198),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kill": (62, 129),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, -1),
    "vfork": (58, -1),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "fsconfig": (431, 431),
    "mount_setattr": (442, 442),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "personality": (135, 92),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "link": (86, -1),
    "linkat": (265, 37),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_THREAD = 0x00010000
# How the kernel names the two, and where a third interface of x86 begins.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_THIRD_INTERFACE = 0x40000000

_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_ERROR = 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16
_SET_SECCOMP, _FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def is_known_here() -> bool:
    """Whether the numbers of this machine's calls are known."""
    return os.name == "posix" and os.uname().machine in _ARCHITECTURES


def number_of(name: str) -> int:
    """The number of a call of `DENIED` on this machine.

    Raises:
        OSError: This machine's calls are not known.
    """
    return DENIED[name][_architecture()[1]]


def deny(*, allowed: Collection[str] = ()) -> None:
    """From now on this thread and what it starts gets EPERM for every call of `DENIED`.

    Threads may be started, processes not. Needs that no privileges can be gained any more.

    Args:
        allowed: Calls that are left out; `clone` stands for starting processes.

    Raises:
        OSError: The kernel refuses, or this machine's calls are not known.
    """
    name, column = _architecture()
    content = ctypes.create_string_buffer(_filter(name, column, allowed))
    instructions = ctypes.cast(content, ctypes.c_void_p)
    program = _Program((len(content) - 1) // 8, instructions)
    call("prctl", _SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)


def _architecture() -> tuple[int, int]:
    """Its name for the kernel, and the column of its numbers."""
    if not is_known_here():
        raise OSError(f"calls of {os.uname().machine} are not known")
    return _ARCHITECTURES[os.uname().machine]


def _filter(architecture: int, column: int, allowed: Collection[str]) -> bytes:
    denied = (pair[column] for name, pair in DENIED.items() if name not in allowed)
    numbers = sorted(number for number in denied if number >= 0)
    refused, missing = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
    program = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_JUMP_FROM, 0, 1, _THIRD_INTERFACE),
        (_RETURN, 0, 0, refused),
    ]
    if "clone" not in allowed:
        # The C library goes back to the older call, whose flags can be seen.
        program += [(_JUMP_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, missing)]
    for number in numbers:
        program += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, refused)]
    if "clone" not in allowed:
        program += [
            (_JUMP_EQUAL, 0, 3, _CLONE[column]),
            (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
            (_JUMP_SET, 1, 0, _THREAD),
            (_RETURN, 0, 0, refused),
        ]
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
