"""Nothing gets out of a room: not as root, not as an ordinary user."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).parent
_PROJECT = _HERE.parents[1]
_NOBODY = 65534


@pytest.fixture
def world() -> Iterator[dict[str, Any]]:
    """What a key store and a machine look like from outside, readable by everybody."""
    folder = Path(tempfile.mkdtemp(prefix="deepsigns-test-"))
    try:
        folder.chmod(0o777)
        for name in ("probes.py", "prober.py"):
            shutil.copy(_HERE / name, folder / name)
        shutil.copytree(
            _PROJECT / "deepsigns_registry",
            folder / "project" / "deepsigns_registry",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        keys = folder / "keys"
        keys.mkdir(mode=0o777)
        (keys / "owner.pem").write_bytes(b"secret")
        (keys / "owner.pem").chmod(0o666)
        keys.chmod(0o777)
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.socket(socket.AF_UNIX) as local,
            socket.socket(socket.AF_UNIX) as abstract,
            (keys / "owner.pem").open("rb") as opened,
        ):
            local.bind(str(folder / "local"))
            local.listen()
            (folder / "local").chmod(0o777)
            abstract.bind(f"\0deepsigns-{os.getpid()}")
            abstract.listen()
            os.set_inheritable(opened.fileno(), True)
            yield {
                "folder": str(folder),
                "key": str(keys / "owner.pem"),
                "port": server.getsockname()[1],
                "local": str(folder / "local"),
                "abstract": f"deepsigns-{os.getpid()}",
                "secret": "DEEPSIGNS_TEST_SECRET",
                "shared": 0x5EC,
                "inode": os.fstat(opened.fileno()).st_ino,
                "handle": opened.fileno(),
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def probed(world: dict[str, Any], interpreter: str, *user: str) -> dict[str, Any]:
    folder = Path(world["folder"])
    done = subprocess.run(
        [
            *(interpreter, "-I", "-B", str(folder / "prober.py"), str(folder / "project")),
            *(str(folder / "probes.py"), json.dumps(world), *user),
        ],
        env={"DEEPSIGNS_TEST_SECRET": "x", "PATH": os.environ["PATH"]},
        pass_fds=[world["handle"]],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_nothing_gets_out(world: dict[str, Any]) -> None:
    found = probed(world, sys.executable)
    assert found["user"] == os.getuid()
    assert found["probes"] >= 30
    assert found["open"] == []
    assert found["got_out"] == []
    keys = Path(world["key"]).parent
    assert [path.name for path in keys.iterdir()] == ["owner.pem"]
    assert stat.S_IMODE(Path(world["key"]).stat().st_mode) == 0o666


@pytest.mark.skipif(os.getuid() != 0, reason="the test above ran as an ordinary user")
def test_nothing_gets_out_as_an_ordinary_user(world: dict[str, Any]) -> None:
    # One that another user can reach: root's own may lie in root's home.
    interpreter = next(
        path
        for path in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3")
        if _reachable(Path(path))
    )
    found = probed(world, interpreter, str(_NOBODY))
    assert found["user"] == _NOBODY
    assert found["open"] == []
    assert found["got_out"] == []


def _reachable(path: Path) -> bool:
    real = path.resolve()
    ways = (real, *real.parents)
    return path.exists() and all(each.stat().st_mode & stat.S_IXOTH for each in ways)
