"""Runs a command in a network of its own, and prints what it asked of it: a script.

    python alone.py COMMAND ...

There is nothing in that network, not even the machine itself. The kernel counts what was tried:
connections that were begun, datagrams that were sent, packets that found no way.
"""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
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
    done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=False)
    lines = Path("/proc/self/net/snmp").read_text().splitlines()
    counted: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        kind = names.partition(":")[0]
        table = dict(zip(names.split()[1:], values.split()[1:], strict=True))
        for name in _COUNTED.get(kind, ()):
            counted[f"{kind}.{name}"] = int(table[name])
    found = {"counted": counted, "code": done.returncode, "out": done.stdout, "err": done.stderr}
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
