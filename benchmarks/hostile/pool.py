"""Processes that read the files, watched from outside: one that ends or hangs is an outcome."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from queue import Empty, SimpleQueue

from benchmarks.hostile.case import DEADLINE, Case, Outcome
from benchmarks.hostile.worker import descendants, read_cases

__all__ = ["read_all"]

_LOOK = 0.05
_STARTING = 300.0
# Far over every bound: until then it may still end by itself and say how.
_PATIENCE = 6 * DEADLINE
_PAGE = os.sysconf("SC_PAGE_SIZE")

Told = Callable[[Case, Outcome], None]


def read_all(
    cases: Sequence[Case], folder: Path, out: Path, *, workers: int, told: Told
) -> dict[Case, Outcome]:
    """Reads every case.

    Args:
        cases: What to read.
        folder: Where `owner.write_owner` wrote.
        out: Where offending files are kept.
        workers: So many processes.
        told: Called with each outcome, from any thread.
    """
    waiting: SimpleQueue[Case] = SimpleQueue()
    for case in cases:
        waiting.put(case)
    found: dict[Case, Outcome] = {}

    def work() -> None:
        worker = _Worker(folder, out)
        try:
            while True:
                case = waiting.get_nowait()
                if not worker.is_ready:
                    worker.close()
                    worker = _Worker(folder, out)
                found[case] = worker.outcome(case)
                told(case, found[case])
        except Empty:
            return
        finally:
            worker.close()

    with ThreadPoolExecutor(workers) as executor:
        for future in [executor.submit(work) for _ in range(workers)]:
            future.result()
    return found


class _Worker:
    def __init__(self, folder: Path, out: Path) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=read_cases, args=(theirs, folder, out))
        self._process.start()
        theirs.close()
        if not self._ours.poll(_STARTING) or self._ours.recv() != "ready":
            self.close()
            raise RuntimeError("a process that should read files did not start")
        self.is_ready = True

    def outcome(self, case: Case) -> Outcome:
        """Has it read one, and watches the rooms that it opens meanwhile."""
        self._ours.send(case)
        started, room = time.monotonic(), 0
        while not self._ours.poll(_LOOK):
            room = max(room, sum(map(_resident, descendants(self._process.pid or 0))))
            seconds = time.monotonic() - started
            if seconds > _PATIENCE:
                self.is_ready = False
                return Outcome("did not end", traceback="hung", seconds=seconds, room=room)
        try:
            outcome: Outcome = self._ours.recv()
        except (EOFError, OSError):
            self.is_ready = False
            self._process.join()
            ended = f"the process ended with {self._process.exitcode}"
            return Outcome(ended, traceback=ended, seconds=time.monotonic() - started, room=room)
        outcome.room = max(outcome.room, room)
        # What was left of one is not counted for the next.
        self.is_ready = outcome.left == 0
        return outcome

    def close(self) -> None:
        """Ends it, and what it started."""
        for number in descendants(self._process.pid or 0):
            with suppress(OSError):
                os.kill(number, 9)
        self._process.kill()
        self._process.join()
        self._ours.close()


def _resident(process: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    return 0
