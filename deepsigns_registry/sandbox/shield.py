"""What keeps secrets from a job of our own that runs an owner's code and a registered model.

Such a job trains: it needs devices, threads, the owner's data wherever that lies, and the network
where the data comes from there. So it is in no room. But the folders with keys are closed to it,
it can look into no other process, and nothing of its memory is ever written to a disk.
"""

import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deepsigns_registry.sandbox import landlock, limits, privileges, seccomp

__all__ = ["put_up"]

# What opens the registry; settings stay, and what the owner's data is fetched with.
_SECRET_NAMES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME")
# What training may need, and rooms that are opened from here: other processes and the network.
_ALLOWED = frozenset(
    {
        *("socket", "kill", "execve", "execveat", "fork", "vfork", "clone", "personality"),
        *("pidfd_open", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
        *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot"),
        *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
        *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
        *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat"),
        *("utime", "utimes", "futimesat", "utimensat"),
    }
)


def put_up(hidden: Iterable[Path], scratch: Path) -> tuple[str, ...]:
    """Closes some files and folders to this process, for good; as far as the kernel can.

    Args:
        hidden: What it must not read or change.
        scratch: An existing folder for its temporary files: beside what is hidden, and in the
            folders on the way there, nothing new can be made.

    Returns:
        Names of the layers that this took.
    """
    for name in list(os.environ):
        if name in _SECRET_NAMES:
            del os.environ[name]
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    limits.limit({"core": 0})
    if sys.platform != "linux":
        return ()
    layers = []
    with suppress(OSError):
        privileges.gain_none()
        layers.append("no new privileges")
        privileges.hide()
    with suppress(OSError):
        landlock.confine_all_but(hidden)
        layers.append(f"Landlock {landlock.version()}")
    with suppress(OSError):
        seccomp.deny(allowed=_ALLOWED)
        layers.append("seccomp")
    return tuple(layers)
