"""A real Ray instance on this machine gives what the local engine gives."""

import time
from typing import Any

import pytest

from deepsigns_registry.engine import open_engine
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.sections import EngineSettings
from tests.support.patience import HANG

pytestmark = pytest.mark.integration


class _Slow:
    """The module `time` with a clock that hardly moves."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        return time.monotonic() / 100


@pytest.fixture
def patient_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray gives its own processes half a minute to start, fixed in its code, and then gives up."""
    import ray._private.node

    monkeypatch.setattr(ray._private.node, "time", _Slow())
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", str(int(HANG)))
    monkeypatch.setenv("RAY_agent_register_timeout_ms", str(int(1000 * HANG)))
    monkeypatch.setenv("RAY_health_check_timeout_ms", str(int(1000 * HANG)))


@pytest.mark.usefixtures("patient_ray")
def test_ray_runs_jobs_and_brings_their_errors_home() -> None:
    import ray

    def square(*, progress: JobProgress, number: int) -> int:
        progress(0.5, "half", {"step": number})
        if number < 0:
            raise DataError(f"{number} is negative")
        return number * number

    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=2)
    try:
        engine = open_engine(EngineSettings(kind="ray"))
        ended: list[tuple[object, ...]] = []
        jobs = [{"number": number} for number in (2, 3, 4)]
        results = engine.run(square, jobs, on_progress=lambda *event: ended.append(event))
        assert results == [4, 9, 16]
        assert sorted(ended) == [
            (index, 1.0, "done", {"step": index + 2}) for index in range(len(jobs))
        ]
        with pytest.raises(DataError, match="-1 is negative"):
            engine.run(square, [{"number": -1}])
    finally:
        ray.shutdown()


def test_a_cluster_that_is_not_there_is_could_not_check() -> None:
    engine = open_engine(EngineSettings(kind="ray", address="127.0.0.1:1"))
    with pytest.raises(CouldNotCheckError, match=r"Ray cluster '127\.0\.0\.1:1' cannot be reached"):
        engine.run(print, [{}])
