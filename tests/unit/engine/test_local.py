"""The local engine: results in order, progress, and what a failed job becomes."""

import os
import signal
import time

import pytest

from deepsigns_registry.config import EngineSettings
from deepsigns_registry.engine import open_engine
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import CouldNotCheckError, DataError


def square(*, progress: JobProgress, number: int, seconds: float = 0.0) -> tuple[int, int]:
    progress(0.5, f"half of {number}", {"accuracy": number / 10} if number > 3 else None)
    time.sleep(seconds)
    return number * number, os.getpid()


def refuse(*, progress: JobProgress) -> None:
    del progress
    raise DataError("train: no samples", advice="check the loader")


def stumble(*, progress: JobProgress) -> None:
    del progress
    raise LookupError("no such\nthing")


def die(*, progress: JobProgress) -> None:
    del progress
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_for_ever(*, progress: JobProgress) -> None:
    progress(0.0, str(os.getpid()))
    time.sleep(3600)


def fail_soon(*, progress: JobProgress, seconds: float) -> None:
    if seconds > 10:
        sleep_for_ever(progress=progress)
    time.sleep(seconds)
    raise DataError("too soon")


def test_results_come_in_the_order_of_the_jobs_from_processes_of_their_own() -> None:
    seen: list[tuple[object, ...]] = []
    engine = LocalEngine(slots=2)
    jobs: list[dict[str, object]] = [{"number": 3, "seconds": 0.3}, {"number": 4}, {"number": 5}]
    results = engine.run(square, jobs, on_progress=lambda *event: seen.append(event))
    assert [value for value, _ in results] == [9, 16, 25]
    processes = {process for _, process in results}
    assert len(processes) == 3
    assert os.getpid() not in processes
    assert sorted(seen) == [
        (0, 0.5, "half of 3", None),
        (1, 0.5, "half of 4", {"accuracy": 0.4}),
        (2, 0.5, "half of 5", {"accuracy": 0.5}),
    ]


def test_a_known_error_arrives_as_it_was_raised() -> None:
    with pytest.raises(DataError, match="train: no samples; check the loader"):
        LocalEngine().run(refuse, [{}])


def test_an_unknown_error_becomes_one_line() -> None:
    with pytest.raises(CouldNotCheckError, match=r"^a job failed: LookupError: no such$"):
        LocalEngine().run(stumble, [{}])


def test_a_killed_job_is_said_to_be_killed() -> None:
    with pytest.raises(CouldNotCheckError, match="ended by SIGKILL; it may have run out of memory"):
        LocalEngine().run(die, [{}])


def test_one_failure_stops_the_other_jobs() -> None:
    pids: list[int] = []
    engine = LocalEngine(slots=2)
    with pytest.raises(DataError, match="too soon"):
        engine.run(
            fail_soon,
            [{"seconds": 100.0}, {"seconds": 3.0}],
            on_progress=lambda _index, _fraction, message, _figures=None: pids.append(int(message)),
        )
    assert len(pids) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_the_settings_choose_the_engine() -> None:
    assert isinstance(open_engine(EngineSettings(jobs=2)), LocalEngine)
