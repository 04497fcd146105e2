"""A process in which something runs that is not ours, watched from outside."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.quiet import OPTED_OUT
from deepsigns_registry.sandbox import channel, enter
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.sandbox.paths import libraries, plain_devices

__all__ = ["Bounds", "Room", "RoomError", "tried_here"]

_ENTER = Path(enter.__file__)
_LONGEST_ANSWER = 1 << 20
# Between two looks at how much memory is used; a process fills a gibibyte in half a second.
_LOOK = 0.05
_PATIENCE = 60.0


class RoomError(Exception):
    """What ran in a room came to no end, or to a bad one; the text says how.

    Attributes:
        at_bound: Whether it was stopped at one of its bounds, so that it would be again.
    """

    def __init__(self, message: str, *, at_bound: bool = False) -> None:
        super().__init__(message)
        self.at_bound = at_bound


@dataclass(frozen=True)
class Bounds:
    """What a room may use up.

    Attributes:
        seconds: Wall time of all its answers together; processor time as well.
        memory_bytes: Resident memory of all of its processes.
        folder_bytes: Everything in the room's folder.
        limits: What the kernel counts; see `limits.limit`.
    """

    seconds: float = 300.0
    memory_bytes: int = 4 * 2**30
    folder_bytes: int = 4 * 2**30
    limits: Mapping[str, int] = field(default_factory=dict)


class Room:
    """Runs a script and asks it; everything ends with the context.

    Attributes:
        folder: Private, empty at first: the only one that the script may change.
        spent: Seconds that answering took so far.
        doors: What it cannot do, as it found by trying.

    Args:
        script: A file with a Python script that calls `channel.serve`.
        bounds: What it may use up.
        readable: Files and folders that are handed over besides the libraries.
        devices: Devices that are handed over.
        modules: Folders in which modules are found besides; they are handed over.
        environment: Variables besides those that every room has.
        isolate: Whether doors are closed; without, only `bounds` hold.
    """

    def __init__(
        self,
        script: Path,
        *,
        bounds: Bounds,
        readable: Sequence[Path] = (),
        devices: Sequence[Path] = (),
        modules: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        isolate: bool = True,
    ) -> None:
        self._bounds = bounds
        self.spent = 0.0
        self._pending = bytearray()
        self._base = Path(tempfile.mkdtemp(prefix="deepsigns-"))
        self.folder = self._base / "work"
        for name in ("work", "root"):
            (self._base / name).mkdir(mode=0o700)
        forbidden = self._base / "outside"
        forbidden.write_bytes(b"")
        try:
            self._process = self._started(environment or {})
        except BaseException:
            shutil.rmtree(self._base, ignore_errors=True)
            raise
        try:
            self.doors = self._entered(
                {
                    "isolate": isolate,
                    "script": str(script),
                    "folder": str(self.folder),
                    "root": str(self._base / "root"),
                    "forbidden": str(forbidden),
                    "parent": os.getpid(),
                    "readable": [str(path) for path in (*libraries(), script, *readable, *modules)],
                    "modules": [str(path) for path in modules],
                    "writable": [str(self.folder)],
                    "devices": [str(path) for path in (*plain_devices(), *devices)],
                    "limits": dict(bounds.limits),
                }
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def ask(
        self,
        request: Mapping[str, object],
        *,
        on_message: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Has a request answered.

        Args:
            request: Of what JSON can hold.
            on_message: Called with what is said before the answer.

        Raises:
            RoomError: It was stopped at a bound, or ended; the room is closed then.
        """
        try:
            self._send(request)
            while True:
                answer = self._answer(self._bounds.seconds)
                message = answer.get("message")
                if not isinstance(message, dict):
                    return answer
                if on_message is not None:
                    on_message(message)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends everything that runs in the room, and removes its folder."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        shutil.rmtree(self._base, ignore_errors=True)

    def _started(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-B", str(_ENTER)],
            cwd=self.folder,
            env={
                "HOME": str(self.folder),
                "LANG": "C.UTF-8",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "TMPDIR": str(self.folder),
                **OPTED_OUT,
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _entered(self, request: Mapping[str, object]) -> Doors:
        self._send(request)
        try:
            return Doors.from_json(self._answer(_PATIENCE))
        except ValueError:
            raise RoomError("said nothing that could be understood") from None
        finally:
            # What starting took is not what the file costs.
            self.spent = 0.0

    def _send(self, request: Mapping[str, object]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        stream = self._process.stdout.fileno()
        started = time.monotonic()
        before = self.spent
        while b"\n" not in self._pending:
            self.spent = before + time.monotonic() - started
            if self.spent > seconds:
                raise RoomError(f"was stopped after {seconds:g} seconds", at_bound=True)
            self._look()
            if not select.select([stream], [], [], _LOOK)[0]:
                continue
            part = os.read(stream, 1 << 16)
            if not part:
                raise RoomError(self._end())
            self._pending += part
            if len(self._pending) > _LONGEST_ANSWER:
                raise RoomError("answered more than it was asked for")
        self.spent = before + time.monotonic() - started
        line, _, rest = bytes(self._pending).partition(b"\n")
        self._pending = bytearray(rest)
        try:
            answer = read_json(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise RoomError("said nothing that could be understood")
        return answer

    def _end(self) -> str:
        """How it ended by itself."""
        code = self._process.wait()
        # Of a process inside another one a signal is told as a shell tells it.
        number = -code if code < 0 else code - 128
        with suppress(ValueError):
            return f"ended with {signal.Signals(number).name}"
        return f"ended with exit code {code}"

    def _look(self) -> None:
        """Stops at a bound that the kernel does not know."""
        for used, bound, what in (
            (_resident(self._process.pid), self._bounds.memory_bytes, "of memory"),
            (_written(self.folder), self._bounds.folder_bytes, "of files"),
        ):
            if used > bound:
                raise RoomError(
                    f"was stopped as it used more than {bound / 2**20:.0f} MiB {what}",
                    at_bound=True,
                )


def tried_here() -> Doors:
    """The doors of a room on this machine, with nothing in it.

    Raises:
        RoomError: No process could be started.
    """
    with Room(Path(channel.__file__), bounds=Bounds()) as room:
        return room.doors


def _resident(process: int) -> int:
    """Bytes of memory that a process and those it started hold; 0 where nobody says."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(_resident, map(int, children)))
    return 0


def _written(folder: Path) -> int:
    """Bytes of the files in a folder and those in it."""
    total = 0
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                total += _written(Path(entry.path))
            else:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
