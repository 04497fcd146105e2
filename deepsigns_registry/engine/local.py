"""Spawned processes on this machine: one job a process, nothing stored."""

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar, cast

from deepsigns_registry.engine.jobs import Figures, OnProgress, failure_of
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError

__all__ = ["LocalEngine"]

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class LocalEngine:
    """Runs up to `slots` jobs at a time, each in a fresh interpreter.

    A fresh interpreter (spawn, not fork) keeps CUDA, threads and the parent's secrets out of
    the job.
    """

    def __init__(self, slots: int = 1) -> None:
        self._slots = slots

    def run(
        self,
        function: Callable[..., Result],
        jobs: Sequence[Mapping[str, object]],
        *,
        on_progress: OnProgress | None = None,
    ) -> list[Result]:
        """Runs the jobs; see `Engine.run`."""
        waiting = deque(enumerate(jobs))
        running: dict[Connection, _Running] = {}
        results: dict[int, Result] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._slots:
                    index, job = waiting.popleft()
                    started = _start(function, job, index)
                    running[started.connection] = started
                for ready in wait(list(running)):
                    entry = running[cast("Connection", ready)]
                    kind, content = entry.receive()
                    if kind == "progress":
                        if on_progress:
                            told = cast("tuple[float, str, Figures | None]", content)
                            on_progress(entry.index, *told)
                    elif kind == "error":
                        raise cast("DeepSignsError", content)
                    else:
                        results[entry.index] = cast("Result", content)
                        del running[entry.connection]
                        entry.finish()
        finally:
            for entry in running.values():
                entry.stop()
        return [results[index] for index in range(len(jobs))]


@dataclass(frozen=True)
class _Running:
    index: int
    process: BaseProcess
    connection: Connection

    def receive(self) -> tuple[str, object]:
        try:
            return cast("tuple[str, object]", self.connection.recv())
        except EOFError:
            self.process.join()
            return "error", _death(self.process.exitcode)

    def finish(self) -> None:
        self.connection.close()
        self.process.join()

    def stop(self) -> None:
        self.process.kill()
        self.finish()


def _death(exit_code: int | None) -> DeepSignsError:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        advice = "it may have run out of memory" if name == "SIGKILL" else ""
        return CouldNotCheckError(f"a job was ended by {name}", advice=advice)
    return CouldNotCheckError(f"a job ended without a result, exit code {exit_code}")


def _start(function: Callable[..., object], job: Mapping[str, object], index: int) -> _Running:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(function, job, theirs), daemon=True)
    process.start()
    # Only the child may hold this end, or its death would never be seen as an end of file.
    theirs.close()
    return _Running(index, process, ours)


def _child(
    function: Callable[..., object], job: Mapping[str, object], connection: Connection
) -> None:
    # The parent handles an interrupt from the keyboard and then stops this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def progress(fraction: float, message: str, figures: Figures | None = None) -> None:
        plain = None if figures is None else dict(figures)
        connection.send(("progress", (fraction, message, plain)))

    try:
        result = function(progress=progress, **job)
    except Exception as error:  # noqa: BLE001 - whatever a job raises goes to the parent
        _log.debug("job failed", exc_info=True)
        connection.send(("error", failure_of(error)))
    else:
        connection.send(("result", result))
