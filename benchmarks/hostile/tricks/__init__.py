"""Tricks that were made by hand: each writes a file into an empty folder, and names it."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.hostile.tricks import amounts, bombs, nested, outside, places, shapes

__all__ = ["TRICKS"]

TRICKS: dict[str, Callable[[Path], Path]] = {
    name: trick
    for module in (outside, bombs, nested, shapes, amounts, places)
    for name, trick in vars(module).items()
    if callable(trick) and trick.__module__ == module.__name__ and not name.startswith("_")
}
"""By name."""
