"""Progress: one moving line on a terminal, plain lines in a log."""

import shutil
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import click

from deepsigns_registry.registry.figures import spoken

__all__ = ["Progress"]

_LOG_SECONDS = 5.0


class Progress:
    """Shows how far a long job is, on standard error.

    Args:
        label: What is being done, shown before the bar.

    Examples:
        >>> with Progress("marking") as progress:
        ...     progress(0.5, "epoch 1 of 2")
    """

    def __init__(self, label: str) -> None:
        self._label = label
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
        measured = spoken(figures or {})
        if measured:
            message = f"{message}: {measured}"
        if self._terminal:
            width = 24
            filled = round(width * min(max(fraction, 0.0), 1.0))
            bar = "#" * filled + "-" * (width - filled)
            line = f"{self._label} [{bar}] {fraction:4.0%} {message}"
            columns = shutil.get_terminal_size().columns
            click.echo(f"\r{line[: columns - 1]:<{columns - 1}}", nl=False, err=True)
            return
        now = time.monotonic()
        if message != self._message and now - self._printed >= _LOG_SECONDS:
            click.echo(f"{self._label}: {fraction:.0%} {message}", err=True)
            self._message, self._printed = message, now

    def clear(self) -> None:
        """Removes the moving line, before something else is printed."""
        if self._terminal:
            click.echo(
                "\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", nl=False, err=True
            )
