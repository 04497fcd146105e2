"""Efficiency, measured with nothing else running."""

from dataclasses import asdict, replace

from benchmarks.kinds.kind import EMBEDDING, READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.speed import efficiency
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["TIMING", "timed_settings"]

# Timings of a model whose embedding takes a minute are repeated less.
_REPETITIONS = {"mlp": 7}
_FEW = 2


def timed_settings(settings: MarkSettings) -> MarkSettings:
    """The settings with the precision that they have by default on each device."""
    return replace(settings, precision=MarkSettings().precision)


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    (parent,) = unit.needs
    model = workshop.load(parent)
    most = workshop.scale.repetitions
    return efficiency(
        unit.model,
        model.module,
        model.tap,
        workshop.data,
        timed_settings(workshop.settings),
        device=workshop.device,
        repetitions=min(most, _REPETITIONS.get(unit.model, _FEW)),
    )


TIMING = Kind(
    _do,
    code=(*EMBEDDING, *READING, "benchmarks.speed", "benchmarks.kinds.timing"),
    values=lambda scale: (
        asdict(timed_settings(base_settings(scale))) | {"repetitions": scale.repetitions}
    ),
)
