"""A process that reads one file after the other, and measures what each of them cost it."""

import ctypes
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.hostile.case import Case, Outcome

if TYPE_CHECKING:
    from benchmarks.hostile.reading import Reader

__all__ = ["descendants", "read_cases"]

_SUBREAPER = 36
_WATCHED = {
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
    *("socket.sendto", "socket.sendmsg"),
}


def read_cases(connection: Connection, folder: Path, out: Path) -> None:
    """Answers every case that comes with its outcome, until the other end is closed.

    Args:
        connection: Gives cases and takes outcomes; first of all takes that it is ready.
        folder: Where `owner.write_owner` wrote.
        out: Where offending files are kept.
    """
    # Whatever a room leaves behind is handed to this process, and not to the first of all.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    import torch

    from benchmarks.hostile.reading import Reader

    torch.set_num_threads(1)
    asked: list[str] = []
    sys.addaudithook(lambda event, _: asked.append(event) if event in _WATCHED else None)
    reader = Reader(folder)
    connection.send("ready")
    while True:
        try:
            case = connection.recv()
        except EOFError:
            return
        connection.send(_measured(reader, case, out, asked))


def _measured(reader: "Reader", case: Case, out: Path, asked: list[str]) -> Outcome:
    place = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        path = reader.made(case, place)
        asked.clear()
        before = _start_of_peak()
        started, waiting = time.monotonic(), _waited()
        said, accepted, traceback = reader.read(case, path)
        seconds, waited = time.monotonic() - started, _waited() - waiting
        outcome = Outcome(
            said=said,
            accepted=accepted,
            traceback=traceback,
            seconds=seconds,
            waited=waited,
            grown=_peak() - before,
            lookups=len(asked),
            left=_left(),
        )
        if outcome.faults:
            outcome.kept = _kept(path, case, out)
        return outcome
    finally:
        _removed(place)


def descendants(process: int) -> list[int]:
    """Numbers of the processes that a process started, and of those that these did."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def _left() -> int:
    # A process that was killed is gone when it has been waited for, not before.
    waited = time.monotonic() + 2
    while (left := descendants(os.getpid())) and time.monotonic() < waited:
        for child in left:
            with suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    return len(left)


def _start_of_peak() -> int:
    """Forgets the largest memory so far; what is held now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _waited() -> float:
    """Seconds in which the process could have run, and others did."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _kept(path: Path, case: Case, out: Path) -> list[str]:
    """Copies an offending file, where it is one that can be copied."""
    with suppress(OSError):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 28:
            out.mkdir(parents=True, exist_ok=True)
            kept = out / f"{case.kind}-{case.name}{path.suffix}"
            shutil.copyfile(path, kept)
            return [str(kept)]
    return []


def _removed(folder: Path) -> None:
    with suppress(OSError):
        for entry in folder.rglob("*"):
            if entry.is_dir() and not entry.is_symlink():
                entry.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
