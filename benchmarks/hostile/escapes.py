"""The probes of `tests/sandbox`, run in a room: what gets out, as this user and as another one."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["NOBODY", "Escapes", "outside", "probed", "reachable_interpreter", "tried"]

_PROJECT = Path(__file__).parents[2]
_PROBES = _PROJECT / "tests" / "sandbox"
NOBODY = 65534
"""An ordinary user that owns nothing."""

_PLACES = ("/usr/local/bin/python3", "/usr/bin/python3")


@dataclass(frozen=True)
class Escapes:
    """What the probes did.

    Attributes:
        probes: How many were tried, of all users together.
        got_out: Those that succeeded, and doors that are open.
        users: Numbers of the users that tried.
    """

    probes: int
    got_out: tuple[str, ...]
    users: tuple[int, ...]


def tried() -> Escapes:
    """Runs every probe in a room: as this user, and where this is root as an ordinary one."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        return _tried_in(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def outside(folder: Path) -> Iterator[dict[str, Any]]:
    """What a key store and a machine look like to the probes, readable by everybody.

    Args:
        folder: Empty; the probes and a copy of the package are put beside the keys.
    """
    folder.chmod(0o777)
    for name in ("probes.py", "prober.py"):
        shutil.copy(_PROBES / name, folder / name)
    shutil.copytree(
        _PROJECT / "deepsigns_registry",
        folder / "project" / "deepsigns_registry",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    keys = folder / "keys"
    keys.mkdir()
    keys.chmod(0o777)
    key = keys / "owner.pem"
    key.write_bytes(b"secret")
    key.chmod(0o666)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_UNIX) as abstract,
        key.open("rb") as opened,
    ):
        local.bind(str(folder / "local"))
        local.listen()
        (folder / "local").chmod(0o777)
        abstract.bind(f"\0deepsigns-{os.getpid()}")
        abstract.listen()
        yield {
            "folder": str(folder),
            "key": str(key),
            "port": server.getsockname()[1],
            "local": str(folder / "local"),
            "abstract": f"deepsigns-{os.getpid()}",
            "secret": "DEEPSIGNS_TEST_SECRET",
            "shared": 0x5EC,
            "inode": os.fstat(opened.fileno()).st_ino,
            "handle": opened.fileno(),
        }


def _tried_in(folder: Path) -> Escapes:
    with outside(folder) as world:
        users: list[tuple[str, tuple[str, ...]]] = [(sys.executable, ())]
        if os.getuid() == 0:
            users.append((reachable_interpreter(), (str(NOBODY),)))
        found = [probed(world, *user) for user in users]
    key = Path(world["key"])
    planted = [path.name for path in key.parent.iterdir() if path.name != key.name]
    return Escapes(
        sum(each["probes"] for each in found),
        tuple(
            f"user {each['user']}: {what}"
            for each in found
            for what in (*each["got_out"], *(f"{door} open" for door in each["open"]))
        )
        + tuple(f"left beside the keys: {name}" for name in planted),
        tuple(each["user"] for each in found),
    )


def probed(
    world: Mapping[str, Any], interpreter: str, user: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What the probes could do in a room.

    Args:
        world: From `outside`.
        interpreter: That opens the room.
        user: Number of the user to become before, none to stay this one.

    Returns:
        `probes`, `got_out`, `open` doors and `user`.
    """
    folder = Path(world["folder"])
    done = subprocess.run(
        [
            *(interpreter, "-I", "-B", str(folder / "prober.py"), str(folder / "project")),
            *(str(folder / "probes.py"), json.dumps(world), *user),
        ],
        env={"DEEPSIGNS_TEST_SECRET": "x", "PATH": os.environ.get("PATH", "")},
        pass_fds=[world["handle"]],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        # A room that cannot be tried is none that holds.
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        name = user[0] if user else str(os.getuid())
        return {"probes": 0, "got_out": [f"not tried: {last}"], "open": [], "user": int(name)}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reachable_interpreter() -> str:
    """One that an ordinary user can reach: root's own may lie in root's home."""
    for place in (sys.executable, *_PLACES):
        real = Path(place).resolve()
        if real.exists() and all(way.stat().st_mode & 0o001 for way in (real, *real.parents)):
            return place
    return sys.executable
