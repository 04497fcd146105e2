"""Runs units in processes of their own, what is needed first, and keeps every outcome."""

import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from multiprocessing import get_context, parent_process
from threading import Thread

from benchmarks.catalogue import KINDS, store_of
from benchmarks.measurement import Measurement
from benchmarks.units import Unit, ordered
from benchmarks.workshop import Run, Workshop
from deepsigns_registry.errors import DeepSignsError

__all__ = ["Failure", "run_units"]

_workshop: list[Workshop] = []


class Failure(Exception):  # noqa: N818 - what was measured is no error
    """Some units failed; what they were and why has been printed."""


def run_units(run: Run, units: Sequence[Unit], workers: int) -> dict[Unit, list[Measurement]]:
    """Does what has not been done yet.

    Args:
        run: What is common to all units.
        units: What is wanted; what they need is added.
        workers: Processes, one thread each.

    Returns:
        The measurements of every unit.

    Raises:
        Failure: A unit failed; the others were done all the same.
    """
    store = store_of(run)
    everything = ordered(units)
    done = {unit for unit in everything if store.outcome(unit) is not None}
    waiting = sorted(set(everything) - done, key=lambda unit: (unit.cost, unit.name))
    print(f"{len(done)} of {len(everything)} units are done", file=sys.stderr, flush=True)
    if waiting:
        _Pool(run, workers, done, len(everything)).run(waiting)
    return {
        unit: [Measurement(**item) for item in store.outcome(unit) or []] for unit in everything
    }


class _Pool:
    def __init__(self, run: Run, workers: int, done: set[Unit], total: int) -> None:
        self.done, self.total, self.workers = done, total, workers
        self.failed: set[Unit] = set()
        self.running: dict[Future[float], Unit] = {}
        self.started = time.monotonic()
        self.executor = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start, initargs=(run,)
        )

    def run(self, waiting: list[Unit]) -> None:
        """Does all of them."""
        with self.executor:
            while waiting or self.running:
                self._submit(waiting)
                if not self.running:
                    break
                finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._note(future)
        if self.failed or waiting:
            names = ", ".join(sorted(unit.name for unit in self.failed))
            raise Failure(
                f"{len(self.failed)} units failed ({names}), and {len(waiting)} that need them "
                "were not done"
            )

    def _submit(self, waiting: list[Unit]) -> None:
        # What others wait for comes first; after that, what is short.
        needed = {need for unit in waiting for need in unit.needs}
        ready = [unit for unit in waiting if self.done.issuperset(unit.needs)]
        for unit in sorted(ready, key=lambda unit: unit not in needed):
            if len(self.running) >= self.workers:
                return
            busy_alone = any(other.alone for other in self.running.values())
            if busy_alone or (unit.alone and self.running):
                continue
            waiting.remove(unit)
            self.running[self.executor.submit(_do, unit)] = unit

    def _note(self, future: "Future[float]") -> None:
        unit = self.running.pop(future)
        try:
            seconds = future.result()
        except _UnitError as error:
            self.failed.add(unit)
            print(f"{error}\nFAILED {unit.name}", file=sys.stderr, flush=True)
            return
        self.done.add(unit)
        passed = time.monotonic() - self.started
        print(
            f"[{passed:6.0f} s] {len(self.done)}/{self.total} {unit.name} ({seconds:.0f} s)",
            file=sys.stderr,
            flush=True,
        )


class _UnitError(Exception):
    """A unit's traceback; errors themselves may not survive the way between processes."""


def _start(run: Run) -> None:
    _workshop.append(Workshop(run, store_of(run)))
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A run that is killed leaves no process behind that goes on for hours."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(unit: Unit) -> float:
    workshop = _workshop[0]
    # Processor time: what a unit costs, however busy the machine is.
    started = time.process_time()
    try:
        measurements = KINDS[unit.kind].do(workshop, unit)
    except DeepSignsError as error:
        raise _UnitError(f"error: {error}") from None
    except Exception:  # noqa: BLE001 - one unit's failure must not end the others
        raise _UnitError(traceback.format_exc()) from None
    seconds = time.process_time() - started
    workshop.store.keep(unit, [asdict(item) for item in measurements], seconds)
    return seconds
