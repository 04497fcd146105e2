"""Generality: every architecture and task is marked and read."""

from dataclasses import asdict, replace

from benchmarks.kind import READING, Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.readings import read
from benchmarks.small import SMALL, trained
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.watermark.fidelity import mark_cost
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import run_batched
from deepsigns_registry.watermark.task import SCORES, task_score

__all__ = ["GENERALITY"]

_EPOCHS = 30


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    settings = replace(workshop.settings, seed=unit.seed)
    model, data = trained(
        unit.model,
        epochs=workshop.scale.epochs(_EPOCHS),
        seed=unit.seed,
        settings=settings,
        device=workshop.device,
    )
    held_out = data.validation
    before, _ = run_batched(model, held_out.inputs, workshop.device)
    root = key_of("generality", unit.model, unit.seed)
    record = workshop.mark(model, data, root, settings)
    after, _ = run_batched(model, held_out.inputs, workshop.device)
    setting = SMALL[unit.model].data
    found = [
        *read(record, TappedSuspect(model, workshop.device)).measurements(
            "generality", unit.model, setting
        ),
        Measurement(
            "generality",
            unit.model,
            BOTH,
            setting,
            "drop against the parent",
            mark_cost(before, after, held_out).drop,
            "mean",
        ),
    ]
    if data.task != "embedding":
        score = task_score(before, held_out.labels, data.task)
        found.append(Measurement("generality", unit.model, "", setting, SCORES[data.task], score))
    return found


GENERALITY = Kind(
    _do,
    code=(
        *READING,
        "benchmarks.kinds.generality",
        "benchmarks.models",
        "benchmarks.small",
    ),
    values=lambda scale: asdict(base_settings(scale)),
    packages=("sklearn", "mlxtend"),
)
