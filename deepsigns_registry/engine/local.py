"""Spawned processes on this machine; nothing is stored."""

import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from deepsigns_registry.engine.answers import read_answer
from deepsigns_registry.engine.jobs import Figures, OnProgress, failure_of
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.sandbox.shield import put_up

__all__ = ["LocalEngine"]

Result = TypeVar("Result")
_log = logging.getLogger(__name__)
_PATIENCE = 10.0


class LocalEngine:
    """Runs up to `slots` jobs at a time, each in a fresh interpreter.

    A fresh interpreter (spawn, not fork) keeps CUDA, threads and the parent's secrets out of
    the job. As a context it keeps the interpreters for later calls of `run`, whose jobs need not
    import everything again, and gives each job `kept`, a dictionary that lasts as long as its
    interpreter: jobs of one context must be of one trust.

    Args:
        slots: How many jobs run at a time.
        hidden: Files and folders that no job may open, see `sandbox.shield`; None for jobs that
            run nothing but our own code.
        seconds: How long the jobs of one `run` may take together; None for as long as it takes.
    """

    def __init__(
        self,
        slots: int = 1,
        *,
        hidden: Sequence[Path] | None = None,
        seconds: float | None = None,
    ) -> None:
        self._slots = slots
        self._seconds = seconds
        self._hidden = None if hidden is None else tuple(hidden)
        self._keeps = False
        self._idle: list[_Child] = []

    def __enter__(self) -> Self:
        self._keeps = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._keeps = False
        self.release()

    def release(self) -> None:
        """Ends the interpreters that are kept; later jobs get new ones."""
        while self._idle:
            self._idle.pop().finish()

    def _started(self) -> "_Child":
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        scratch = None if self._hidden is None else Path(tempfile.mkdtemp(prefix="deepsigns-"))
        job = theirs, self._keeps, self._hidden, scratch
        process = context.Process(target=_serve, args=job, daemon=True)
        process.start()
        # Only the child may hold this end, or its death would never be seen as an end of file.
        theirs.close()
        return _Child(process, ours, scratch)

    def run(
        self,
        function: Callable[..., Result],
        jobs: Sequence[Mapping[str, object]],
        *,
        on_progress: OnProgress | None = None,
    ) -> list[Result]:
        """Runs the jobs; see `Engine.run`."""
        until = None if self._seconds is None else time.monotonic() + self._seconds
        waiting = deque(enumerate(jobs))
        running: dict[Connection, tuple[int, _Child]] = {}
        results: dict[int, Result] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._slots:
                    index, job = waiting.popleft()
                    child = self._idle.pop() if self._idle else self._started()
                    running[child.connection] = index, child
                    child.send(function, job)
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise CouldNotCheckError(f"a job did not end in {self._seconds:g} seconds")
                for ready in wait(list(running), left):
                    index, child = running[cast("Connection", ready)]
                    kind, content = child.receive()
                    if kind == "progress":
                        if on_progress:
                            told = cast("tuple[float, str, Figures | None]", content)
                            on_progress(index, *told)
                    elif kind == "error":
                        # It goes on waiting for jobs: killed, it would leave its locks behind.
                        del running[child.connection]
                        child.finish()
                        raise cast("DeepSignsError", content)
                    else:
                        results[index] = cast("Result", content)
                        del running[child.connection]
                        if self._keeps:
                            self._idle.append(child)
                        else:
                            child.finish()
        finally:
            for _, child in running.values():
                child.stop()
        return [results[index] for index in range(len(jobs))]


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    connection: Connection
    scratch: Path | None

    def send(self, function: Callable[..., object], job: Mapping[str, object]) -> None:
        # A child that died already is noticed when it is listened to.
        with suppress(ConnectionError):
            self.connection.send((function, job))

    def receive(self) -> tuple[str, object]:
        try:
            content = self.connection.recv_bytes()
        except (EOFError, ConnectionError):
            self.process.join()
            return "error", _death(self.process.exitcode)
        if self.scratch is None:
            return cast("tuple[str, object]", pickle.loads(content))  # noqa: S301 - our own code's
        try:
            answer = read_answer(content)
        except CouldNotCheckError as error:
            self.process.kill()
            return "error", error
        if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], str):
            return answer
        return "error", CouldNotCheckError("a job said nothing that could be understood")

    def finish(self) -> None:
        self.connection.close()
        # What it had to say it has said; foreign code may have left something that goes on.
        self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def stop(self) -> None:
        self.process.kill()
        self.finish()


def _death(exit_code: int | None) -> DeepSignsError:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        advice = "it may have run out of memory" if name == "SIGKILL" else ""
        return CouldNotCheckError(f"a job was ended by {name}", advice=advice)
    return CouldNotCheckError(f"a job ended without a result, exit code {exit_code}")


def _serve(
    connection: Connection, keeps: bool, hidden: tuple[Path, ...] | None, scratch: Path | None
) -> None:
    """Does one job after the other, until the other end is closed."""
    if hidden is not None and scratch is not None:
        put_up(hidden, scratch)
    # The parent handles an interrupt from the keyboard and then stops this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a command prints is its own answer; what foreign code prints is not.
    with suppress(OSError):
        os.dup2(2, 1)

    def progress(fraction: float, message: str, figures: Figures | None = None) -> None:
        plain = None if figures is None else dict(figures)
        connection.send(("progress", (fraction, message, plain)))

    kept: dict[str, object] = {"kept": {}} if keeps else {}
    while True:
        try:
            function, job = connection.recv()
        except EOFError:
            return
        try:
            result = function(progress=progress, **kept, **job)
        except Exception as error:  # noqa: BLE001 - whatever a job raises goes to the parent
            _log.debug("job failed", exc_info=True)
            connection.send(("error", failure_of(error)))
        else:
            connection.send(("result", result))
        # Nothing of this job is held while the next one is waited for.
        function = job = result = None
