"""Runs in a room, as a script: tries to get out in every way that it knows.

Each probe is told where things are outside, and gives whether it succeeded. An exception is a
failure of the probe: the room held.
"""

import ctypes
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepsigns_registry.sandbox import channel

_LIBC = ctypes.CDLL(None, use_errno=True)
_X86 = os.uname().machine == "x86_64"
Outside = dict[str, Any]


def _call(x86: int, arm: int, *arguments: Any) -> bool:
    return bool(_LIBC.syscall(ctypes.c_long(x86 if _X86 else arm), *arguments) >= 0)


def read_a_key(outside: Outside) -> bool:
    return bool(Path(outside["key"]).read_bytes())


def list_the_keys(outside: Outside) -> bool:
    return bool(list(Path(outside["key"]).parent.iterdir()))


def write_beside_the_keys(outside: Outside) -> bool:
    return bool(Path(outside["key"]).with_name("planted").write_bytes(b"x"))


def change_a_keys_mode(outside: Outside) -> bool:
    Path(outside["key"]).chmod(0o600)
    return True


def link_a_key_into_the_folder(outside: Outside) -> bool:
    Path("linked").hardlink_to(outside["key"])
    return bool(Path("linked").read_bytes())


def leave_a_link_for_the_parent(outside: Outside) -> bool:
    Path("outputs.npy").symlink_to(outside["key"])
    return True


def leave_a_pipe_for_the_parent(_outside: Outside) -> bool:
    os.mkfifo("activation-0.npy")
    return True


def read_the_parents_environment(outside: Outside) -> bool:
    return outside["secret"].encode() in Path(f"/proc/{outside['parent']}/environ").read_bytes()


def read_the_parents_memory(outside: Outside) -> bool:
    with Path(f"/proc/{outside['parent']}/mem").open("rb") as memory:
        return memory.fileno() >= 0


def look_through_the_parents_root(outside: Outside) -> bool:
    return bool(list(Path(f"/proc/{outside['parent']}/root").iterdir()))


def look_for_other_processes(outside: Outside) -> bool:
    commands = [path / "cmdline" for path in Path("/proc").iterdir() if path.name.isdigit()]
    return any(str(outside["key"]).encode() in path.read_bytes() for path in commands)


def copy_the_parents_memory(outside: Outside) -> bool:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("PN", ctypes.addressof(buffer), 8)
    return _call(310, 270, outside["parent"], local, 1, local, 1, 0)


def trace_the_parent(outside: Outside) -> bool:
    return _call(101, 117, 16, outside["parent"], 0, 0)


def signal_the_parent(outside: Outside) -> bool:
    os.kill(outside["parent"], 0)
    return True


def signal_everybody(_outside: Outside) -> bool:
    os.kill(-1, 0)
    return True


def start_a_process(_outside: Outside) -> bool:
    child = os.fork()
    if not child:
        os._exit(0)
    return True


def start_a_process_by_the_newer_call(_outside: Outside) -> bool:
    return _call(435, 435, ctypes.create_string_buffer(88), ctypes.c_size_t(88))


def run_a_shell(_outside: Outside) -> bool:
    return subprocess.run(["/bin/sh", "-c", "true"], check=False).returncode == 0


def become_another_program(_outside: Outside) -> bool:
    os.execv(sys.executable, [sys.executable, "-c", ""])  # noqa: S606 - this is the probe


def outlive_the_call(outside: Outside) -> bool:
    child = os.fork()
    if not child:
        os.setsid()
        Path(outside["key"]).with_name("alive").write_bytes(b"x")
        os._exit(0)
    return True


def connect(outside: Outside) -> bool:
    with socket.create_connection(("127.0.0.1", outside["port"]), timeout=5):
        return True


def send_a_datagram(outside: Outside) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        return bool(made.sendto(b"x", ("127.0.0.1", outside["port"])))


def have_a_raw_socket(_outside: Outside) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return True


def reach_a_local_socket(outside: Outside) -> bool:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(outside["local"])
        return True


def reach_an_abstract_socket(outside: Outside) -> bool:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect("\0" + outside["abstract"])
        return True


def look_a_name_up(_outside: Outside) -> bool:
    return bool(socket.getaddrinfo("localhost", 80))


def become_root_of_a_new_namespace(_outside: Outside) -> bool:
    return _call(272, 97, 0x10000000)


def join_the_parents_namespace(outside: Outside) -> bool:
    handle = os.open(f"/proc/{outside['parent']}/ns/net", os.O_RDONLY)
    return _call(308, 268, handle, 0)


def mount_something(_outside: Outside) -> bool:
    return _call(165, 40, b"tmpfs", b"/", b"tmpfs", 0, None)


def change_the_root(_outside: Outside) -> bool:
    os.chroot(".")
    return True


def become_another_user(_outside: Outside) -> bool:
    os.setuid(os.getuid() + 1)
    return True


def raise_a_limit(_outside: Outside) -> bool:
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))
    return True


def open_the_machines_memory(_outside: Outside) -> bool:
    return any(os.open(path, os.O_RDONLY) >= 0 for path in ("/dev/mem", "/proc/kcore"))


def use_a_ring(_outside: Outside) -> bool:
    return _call(425, 425, 8, ctypes.create_string_buffer(120))


def load_a_kernel_program(_outside: Outside) -> bool:
    return _call(321, 280, 0, ctypes.create_string_buffer(120), 120)


def read_the_kernels_keys(_outside: Outside) -> bool:
    return _call(250, 219, 0, -3, 1)


def share_memory_with_others(outside: Outside) -> bool:
    return bool(_LIBC.shmget(outside["shared"], 1, 0) >= 0)


def use_a_file_that_was_left_open(outside: Outside) -> bool:
    for handle in range(3, 64):
        try:
            if os.fstat(handle).st_ino == outside["inode"]:
                return True
        except OSError:
            continue
    return False


PROBES: dict[str, Callable[[Outside], bool]] = {
    name: found
    for name, found in list(globals().items())
    if callable(found) and getattr(found, "__module__", "") == __name__ and name[0] not in "_PO"
}


def _tried(request: dict[str, Any]) -> dict[str, object]:
    got_out = []
    for name, probe in PROBES.items():
        try:
            if probe(request):
                got_out.append(name)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
    return {"got_out": got_out, "probes": len(PROBES), "user": os.getuid()}


if __name__ == "__main__":
    channel.serve(_tried)
