"""Efficiency, measured with nothing else running."""

from dataclasses import asdict

from benchmarks.kinds.kind import EMBEDDING, READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.speed import efficiency
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings

__all__ = ["TIMING"]

# Timings of a model whose embedding takes a minute are repeated less.
_REPETITIONS = {"mlp": 7}
_FEW = 2


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    (parent,) = unit.needs
    model = workshop.load(parent)
    most = workshop.scale.repetitions
    return efficiency(
        unit.model,
        model.module,
        model.tap,
        workshop.data,
        workshop.settings,
        device=workshop.device,
        repetitions=min(most, _REPETITIONS.get(unit.model, _FEW)),
    )


TIMING = Kind(
    _do,
    code=(*EMBEDDING, *READING, "benchmarks.speed", "benchmarks.kinds.timing"),
    values=lambda scale: asdict(base_settings(scale)) | {"repetitions": scale.repetitions},
)
