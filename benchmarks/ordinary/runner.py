"""Runs trials in processes of their own, one core each."""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.queues import SimpleQueue
from threading import Thread

from benchmarks.ordinary.trial import Trial, try_entry
from benchmarks.ordinary.zoo import ZOO
from deepsigns_registry.engine.jobs import Figures

__all__ = ["run_trials"]

_ALIVE_SECONDS = 30.0

Say = Callable[[str], None]


def run_trials(wanted: Sequence[tuple[str, int]], workers: int, say: Say) -> list[Trial]:
    """Tries every model and seed.

    Args:
        wanted: Names of the zoo, and seeds.
        workers: Processes; each is bound to a core of its own as far as there are enough, so
            that the product, which starts a thread for each core it may use, takes no other's.
        say: Told a line for each trial that ended, and now and then that some go on.

    Returns:
        One trial for each wanted, in the order in which they ended. Where a process dies, of
        memory perhaps, it and what has not been tried then are `crashed`.
    """
    context, started = get_context("spawn"), time.monotonic()
    cores: SimpleQueue[int] = context.SimpleQueue()
    available = sorted(os.sched_getaffinity(0))
    for number in range(workers):
        cores.put(available[number % len(available)])
    trials: list[Trial] = []
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(cores,)
    ) as executor:
        running = {executor.submit(_try, name, seed): (name, seed) for name, seed in wanted}
        while running:
            finished, _ = wait(running, timeout=_ALIVE_SECONDS, return_when=FIRST_COMPLETED)
            passed = f"[{time.monotonic() - started:5.0f} s] {{}}/{len(wanted)}"
            if not finished:
                say(f"{passed.format(len(trials))} done")
            for future in finished:
                trials.append(_outcome(future, *running.pop(future)))
                say(f"{passed.format(len(trials))} {_described(trials[-1])}")
    return trials


def _outcome(future: "Future[Trial]", name: str, seed: int) -> Trial:
    try:
        return future.result()
    except BrokenProcessPool as error:
        return Trial(name, seed, "crashed", f"a process died: {error}")


def _described(trial: Trial) -> str:
    found = [f"{trial.name}, seed {trial.seed}: {trial.outcome}"]
    for name, value in (
        ("white box", trial.whitebox_log10_p),
        ("black box", trial.blackbox_log10_p),
    ):
        found += [] if value is None else [f"{name} {value:.1f}"]
    if trial.accuracy_drop is not None:
        found += [f"drop {100 * trial.accuracy_drop:+.2f}"]
    if trial.seconds is not None:
        found += [f"{trial.seconds:.1f} s"]
    return ", ".join([*found, *([trial.reason] if trial.reason else [])])


def _start(cores: "SimpleQueue[int]") -> None:
    import torch

    os.sched_setaffinity(0, {cores.get()})
    torch.set_num_threads(1)
    # The exporter and MLflow warn of their own parts, on every model.
    warnings.simplefilter("ignore")
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A run that is killed leaves no process behind that goes on."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _try(name: str, seed: int) -> Trial:
    return try_entry(ZOO[name], seed, _silent)


def _silent(
    _fraction: float,
    _message: str,
    /,
    figures: Figures | None = None,
) -> None:
    """The product's own progress is not shown: trials go on side by side."""
