"""What a kind of units is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from benchmarks.measurement import Measurement
from benchmarks.scale import Scale
from benchmarks.units import Unit, code_digest
from benchmarks.workshop import Workshop

__all__ = ["EMBEDDING", "READING", "Kind"]

EMBEDDING = ("benchmarks.data", "benchmarks.workshop", "deepsigns_registry.watermark")
"""Modules that decide what a marked model is."""

READING = (*EMBEDDING, "benchmarks.readings")
"""Modules that decide what is read from a suspect."""


@dataclass(frozen=True)
class Kind:
    """A kind of units.

    Attributes:
        do: Measures; called in a process of its own.
        code: Modules whose change makes kept outcomes worthless.
        values: Settings whose change does the same, as plain values.
        packages: What must be installed beside torch, numpy and scipy.
    """

    do: Callable[[Workshop, Unit], Sequence[Measurement]]
    code: tuple[str, ...]
    values: Callable[[Scale], dict[str, Any]] = field(default=lambda _scale: {})
    packages: tuple[str, ...] = ()

    def meaning(self, scale: Scale) -> dict[str, Any]:
        """Everything of this kind that decides what an outcome means."""
        return {"code": _digest(self.code), "values": self.values(scale)}


@cache
def _digest(modules: tuple[str, ...]) -> str:
    return code_digest(modules)
