"""Runs a command in a network of its own, and prints what it asked of it: a script.

    python alone.py [--loopback] COMMAND ...

There is nothing in that network, without `--loopback` not even the machine itself. The kernel
counts what was tried: connections that were begun, datagrams that were sent, packets that found no
way.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_READ_FLAGS, _WRITE_FLAGS, _UP = 0x8913, 0x8914, 0x1
_COUNTED = {
    "Tcp": ("ActiveOpens",),
    "Udp": ("OutDatagrams", "NoPorts"),
    "Ip": ("OutNoRoutes", "OutRequests"),
}


def main() -> int:
    library = ctypes.CDLL(None, use_errno=True)
    flags = _NEW_NETWORK if os.getuid() == 0 else _NEW_USER | _NEW_NETWORK
    if library.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "no network of its own can be made")
    command = sys.argv[1:]
    if command[0] == "--loopback":
        _open_loopback()
        del command[0]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = Path("/proc/self/net/snmp").read_text().splitlines()
    counted: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        kind = names.partition(":")[0]
        table = dict(zip(names.split()[1:], values.split()[1:], strict=True))
        for name in _COUNTED.get(kind, ()):
            counted[f"{kind}.{name}"] = int(table[name])
    for line in Path("/proc/self/net/snmp6").read_text().splitlines():
        if line.startswith("Ip6OutNoRoutes"):
            counted["Ip6.OutNoRoutes"] = int(line.split()[1])
    found = {"counted": counted, "code": done.returncode, "out": done.stdout, "err": done.stderr}
    sys.stdout.write(json.dumps(found))
    return 0


def _open_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(made, _READ_FLAGS, asked))
        fcntl.ioctl(made, _WRITE_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


if __name__ == "__main__":
    raise SystemExit(main())
