"""What a job is, and what an engine promises."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError

__all__ = ["Engine", "Figures", "JobProgress", "OnProgress", "failure_of"]

Result = TypeVar("Result")

Figures = Mapping[str, float]
"""Numbers that a job has measured so far, by name; everybody may read them."""


class JobProgress(Protocol):
    """What a job calls to say how far it is."""

    def __call__(self, fraction: float, message: str, /, figures: Figures | None = None) -> None:
        """Tells a fraction in [0, 1], a short message, and what was measured, if anything was."""


class OnProgress(Protocol):
    """What the caller gets told of every job."""

    def __call__(
        self, index: int, fraction: float, message: str, figures: Figures | None = None, /
    ) -> None:
        """Takes the job's index, its fraction, its message and its figures."""


class Engine(Protocol):
    """Runs one function over many jobs, each in a process of its own."""

    def run(
        self,
        function: Callable[..., Result],
        jobs: Sequence[Mapping[str, object]],
        *,
        on_progress: OnProgress | None = None,
    ) -> list[Result]:
        """Calls `function(progress=..., **job)` for every job.

        Args:
            function: A module-level function that takes a `progress` keyword (`JobProgress`).
            jobs: Keyword arguments, one mapping a job; they and the results are pickled.
            on_progress: Called in this process with every job's progress.

        Returns:
            The results, in the order of `jobs`.

        Raises:
            DeepSignsError: The first job's error, as it was raised in the job.
            CouldNotCheckError: A job died or failed in another way.
        """
        ...


def failure_of(error: Exception) -> DeepSignsError:
    """Turns whatever a job raised into an error a person can read.

    Examples:
        >>> str(failure_of(ZeroDivisionError("division by zero")))
        'a job failed: ZeroDivisionError: division by zero'
    """
    if isinstance(error, DeepSignsError):
        return error
    text = str(error).strip().splitlines()
    return CouldNotCheckError(f"a job failed: {type(error).__name__}: {text[0] if text else ''}")
