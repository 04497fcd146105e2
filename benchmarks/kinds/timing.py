"""Efficiency, measured with nothing else running."""

from dataclasses import asdict, replace

from benchmarks.kind import READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.scale import Scale
from benchmarks.speed import efficiency
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["TIMING", "timed_settings"]

# Timings of a model whose embedding takes a minute are repeated less.
_REPETITIONS = {"mlp": 7}
_FEW = 2


def timed_settings(scale: Scale) -> MarkSettings:
    """The default settings, at their own precision; a quick run makes one short pass."""
    settings = replace(base_settings(scale), precision=MarkSettings().precision)
    return replace(settings, minimum_steps=1) if scale.steps else settings


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    (parent,) = unit.needs
    model = workshop.load(parent)
    most = workshop.scale.repetitions
    return efficiency(
        unit.model,
        model.module,
        model.tap,
        workshop.data,
        timed_settings(workshop.scale),
        device=workshop.device,
        repetitions=min(most, _REPETITIONS.get(unit.model, _FEW)),
    )


TIMING = Kind(
    _do,
    code=(*READING, "benchmarks.speed", "benchmarks.kinds.timing"),
    values=lambda scale: asdict(timed_settings(scale)) | {"repetitions": scale.repetitions},
)
