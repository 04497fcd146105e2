"""The same fine-tuning without a mark: what the mark's cost is measured against."""

from dataclasses import asdict

from benchmarks.kinds.kind import EMBEDDING, Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.fidelity import accuracy

__all__ = ["CONTROL"]


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    parent, marked = unit.needs
    model = workshop.load(parent)
    data = workshop.owner_data("full", unit.seed)
    embed(model, data, None, workshop.settings, device=workshop.device)
    workshop.save(unit, model)
    reached = accuracy(model, data.validation, workshop.device)
    drop = reached - accuracy(workshop.load(marked), data.validation, workshop.device)
    setting = "marked, against the same fine-tuning without a mark"
    return [
        Measurement(
            "fidelity",
            unit.model,
            "",
            "fine-tuned without a mark",
            "accuracy",
            reached,
            "low is worst",
        ),
        Measurement("fidelity", unit.model, BOTH, setting, "drop", drop, "mean"),
    ]


CONTROL = Kind(
    _do,
    code=(*EMBEDDING, "benchmarks.kinds.control"),
    values=lambda scale: asdict(base_settings(scale)),
)
