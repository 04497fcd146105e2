"""Jobs on a Ray cluster.

Token authentication is Ray's default: every node and this process need the same
`RAY_AUTH_TOKEN`. A node listens on all its interfaces; see `docs/operations.md`.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from deepsigns_registry.engine.jobs import Figures, OnProgress, failure_of
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError

__all__ = ["RayEngine"]

Result = TypeVar("Result")


class RayEngine:
    """Runs every job as a Ray task; a job whose node dies is run again, twice at most.

    Args:
        address: Of the cluster; empty starts one on this machine.
        gpus_per_job: GPUs, or a fraction of one, that a job occupies.
    """

    def __init__(self, address: str = "", *, gpus_per_job: float = 0) -> None:
        self._address = address
        self._gpus = gpus_per_job

    def run(
        self,
        function: Callable[..., Result],
        jobs: Sequence[Mapping[str, object]],
        *,
        on_progress: OnProgress | None = None,
    ) -> list[Result]:
        """Runs the jobs; see `Engine.run`.

        Progress comes once a job, when it ends, with the last figures that it told.
        """
        try:
            import ray
        except ImportError:
            raise ConfigurationError(
                "[engine] kind = 'ray' but Ray is not installed",
                advice="pip install 'deepsigns-registry[ray]'",
            ) from None

        ours = not ray.is_initialized()
        if ours:
            self._connect()
        try:
            # A worker process serves one job (max_calls), so nothing leaks into the next.
            task: Any = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=2, max_calls=1)(
                _job
            )
            futures = {task.remote(function, dict(job)): index for index, job in enumerate(jobs)}
            results: dict[int, Result] = {}
            while len(results) < len(jobs):
                waiting = [future for future, index in futures.items() if index not in results]
                ended, _ = ray.wait(waiting, num_returns=1)
                index = futures[ended[0]]
                try:
                    results[index], figures = ray.get(ended[0])
                except ray.exceptions.RayTaskError as error:
                    raise failure_of(error.cause or error) from None
                except ray.exceptions.RayError as error:
                    raise CouldNotCheckError(f"a Ray job died: {type(error).__name__}") from None
                if on_progress:
                    on_progress(index, 1.0, "done", figures)
        finally:
            if ours:
                ray.shutdown()
        return [results[index] for index in range(len(jobs))]

    def _connect(self) -> None:
        import ray

        try:
            if self._address:
                # Ray itself waits for minutes on an address where nobody answers.
                host, _, port = self._address.removeprefix("ray://").rpartition(":")
                if host:
                    socket.create_connection((host, int(port)), timeout=10).close()
                ray.init(address=self._address, log_to_driver=False)
            else:
                ray.init(include_dashboard=False, log_to_driver=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise CouldNotCheckError(
                f"Ray cluster '{self._address or 'local'}' cannot be reached: {error}",
                advice="check [engine] address and RAY_AUTH_TOKEN",
            ) from None


def _job(
    function: Callable[..., Result], job: Mapping[str, object]
) -> tuple[Result, Figures | None]:
    last: Figures | None = None

    def progress(_fraction: float, _message: str, figures: Figures | None = None) -> None:
        nonlocal last
        last = last if figures is None else dict(figures)

    return function(progress=progress, **job), last
