"""Progress: one moving line on a terminal, plain lines in a log."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import click

from deepsigns_registry.cli.printing import echo
from deepsigns_registry.cli.printing import shown as plain
from deepsigns_registry.registry.figures import spoken, stage_of
from deepsigns_registry.registry.remaining import Remaining

__all__ = ["Progress", "duration", "time_left"]

_LOG_SECONDS = 5.0


class Progress:
    """Shows how far a long job is, on standard error.

    What was measured is shown for as long as the stage lasts: a message begins with it, up to the
    first comma or colon. A fraction of 0 begins another job.

    Args:
        label: What is being done, shown before the bar.
        clock: Seconds that go on.

    Examples:
        >>> with Progress("marking") as progress:
        ...     progress(0.5, "epoch 1 of 2")
    """

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._clock = label, clock
        self._remaining = Remaining(clock)
        self._stage = self._measured = ""
        self._terminal = sys.stderr.isatty()
        self._message = ""
        self._printed = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def __call__(
        self, fraction: float, message: str, /, figures: Mapping[str, float] | None = None
    ) -> None:
        """Shows a fraction in [0, 1], what is being done, and what was measured so far."""
        share = min(max(fraction, 0.0), 1.0)
        if share == 0.0:
            self._remaining = Remaining(self._clock)
        shown = self._said(message, figures or {})
        left = time_left(self._remaining.seconds(share)) if share < 1 else ""
        if left:
            shown = f"{shown}, {left}"
        if self._terminal:
            width = 24
            filled = round(width * share)
            bar = "#" * filled + "-" * (width - filled)
            line = plain(f"{self._label} [{bar}] {share:4.0%} {shown}")
            columns = shutil.get_terminal_size().columns
            click.echo(f"\r{line[: columns - 1]:<{columns - 1}}", nl=False, err=True)
            return
        now = self._clock()
        if message != self._message and now - self._printed >= _LOG_SECONDS:
            echo(f"{self._label}: {share:.0%} {shown}", err=True)
            self._message, self._printed = message, now

    def _said(self, message: str, figures: Mapping[str, float]) -> str:
        stage, measured = stage_of(message), spoken(figures)
        if measured or stage != self._stage:
            self._stage, self._measured = stage, measured
        return f"{message}: {self._measured}" if self._measured else message

    def clear(self) -> None:
        """Removes the moving line, before something else is printed."""
        if self._terminal:
            click.echo(
                "\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", nl=False, err=True
            )


def time_left(seconds: float | None) -> str:
    """How long it still takes, roughly.

    Examples:
        >>> time_left(47.3), time_left(200), time_left(None)
        ('about 47 s left', 'about 3 min left', '')
    """
    return "" if seconds is None else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Examples:
        >>> duration(47.3), duration(200), duration(9000)
        ('47 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
