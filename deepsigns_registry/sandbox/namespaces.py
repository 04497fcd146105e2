"""Namespaces: what a process can see at all of users, processes, the network and mounts.

Source: namespaces(7), user_namespaces(7), pid_namespaces(7). An ordinary user makes a user
namespace first, in which the others may be made; where that is switched off, only root may.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from deepsigns_registry.sandbox import privileges
from deepsigns_registry.sandbox.kernel import call

__all__ = ["KINDS", "go_inside", "leave"]

KINDS = {
    "user": 0x10000000,
    "mounts": 0x00020000,
    "processes": 0x20000000,
    "network": 0x40000000,
    "ipc": 0x08000000,
    "names": 0x04000000,
}
"""What a process can have of its own, with the kernel's flag."""


def leave() -> frozenset[str]:
    """Leaves as many namespaces as the kernel lets this process leave.

    Returns:
        Which of `KINDS` are its own from now on; `processes` only after `go_inside`.
    """
    for left_out in ((), ("user",), ("user", "mounts")):
        wanted = [name for name in KINDS if name not in left_out]
        user, group = os.getuid(), os.getgid()
        with suppress(OSError):
            call("unshare", sum(KINDS[name] for name in wanted))
            if "user" in wanted:
                _stay(user, group)
            return frozenset(wanted)
    return frozenset()


def go_inside() -> None:
    """Goes on inside the new namespace of processes; those that stay behind wait for its end.

    The first process there is not this one, as the kernel lets it ignore signals; with it
    everything ends that is in the namespace.
    """
    for _ in range(2):
        child = os.fork()
        if child:
            _wait(child)
        privileges.end_with_parent()


def _wait(child: int) -> NoReturn:
    """Ends as the child ended; of a signal as a shell says it."""
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _stay(user: int, group: int) -> None:
    """Is the same user inside as outside, and nobody else is there."""
    ours = Path("/proc/self")
    (ours / "setgroups").write_text("deny")
    (ours / "uid_map").write_text(f"{user} {user} 1")
    (ours / "gid_map").write_text(f"{group} {group} 1")
