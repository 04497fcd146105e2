"""No command reaches for the network when nothing that it was told of is there.

All of the demo (server, training, worker, gate, audit) may reach this machine alone. Later its
registry is a file: each command runs in a network of its own, without even the machine itself.
The kernel counts every connection, datagram and packet that was tried, those of libraries and of
threads in the background as well.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepsigns_registry.quiet import OPTED_OUT
from tests.integration.story.conftest import ALONE
from tests.support.story import Demo

pytestmark = pytest.mark.integration

COMMANDS = {
    "verify": ("verify", "deployed/model.onnx"),
    "gate": ("gate", "models:/digits@champion"),
    "audit": ("audit", "run"),
}


def alone(demo: Demo, home: Path, *command: str) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if name not in OPTED_OUT}
    kept |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    done = subprocess.run(
        [sys.executable, str(ALONE), *command],
        cwd=demo.folder,
        env=kept,
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_server_worker_and_training_reach_for_this_machine_alone(demo: Demo) -> None:
    assert demo.counted["Tcp.ActiveOpens"] > 0
    # A name is looked up by datagrams, whoever answers it.
    for name in ("Ip.OutNoRoutes", "Ip6.OutNoRoutes", "Udp.OutDatagrams", "Udp.NoPorts"):
        assert demo.counted[name] == 0, demo.counted


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_looks_up_or_connects(demo: Demo, name: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("deepsigns"))
    found = alone(demo, tmp_path, program, *COMMANDS[name])
    assert found["code"] == 0, found["err"]
    assert set(found["counted"].values()) == {0}, found
    # Not a file outside of the folders that the documentation names.
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(".cache/matplotlib") for path in written), written


def test_what_reaches_out_is_counted(demo: Demo, tmp_path: Path) -> None:
    """So that the test above can fail."""
    code = (
        "import socket\n"
        "made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "try:\n"
        "    made.sendto(b'x', ('192.0.2.1', 53))\n"
        "except OSError:\n"
        "    pass\n"
    )
    found = alone(demo, tmp_path, sys.executable, "-c", code)
    assert found["counted"]["Ip.OutNoRoutes"] > 0
