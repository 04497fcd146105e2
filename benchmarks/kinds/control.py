"""The same fine-tuning without a mark: what the mark's cost is measured against."""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from benchmarks.kind import EMBEDDING, Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["CONTROL", "FLIPS"]

FLIPS = "answers changed beyond those of the same fine-tuning"


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    parent, marked = unit.needs
    model = workshop.load(parent)
    data = workshop.owner_data(parent.setting, unit.seed)
    before = _answers(workshop, model)
    embed(model, data, None, workshop.settings, device=workshop.device)
    workshop.save(unit, model)
    reached = accuracy(model, data.validation, workshop.device)
    other = workshop.load(marked)
    drop = reached - accuracy(other, data.validation, workshop.device)
    flips = [float((_answers(workshop, found) != before).mean()) for found in (other, model)]
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
        Measurement("fidelity", unit.model, BOTH, setting, FLIPS, flips[0] - flips[1], "mean"),
    ]


def _answers(workshop: Workshop, model: TappedModel) -> NDArray[np.int64]:
    outputs, _ = run_batched(model, workshop.data.validation.inputs, workshop.device)
    return np.asarray(outputs.argmax(axis=1), dtype=np.int64)


CONTROL = Kind(
    _do,
    code=(*EMBEDDING, "benchmarks.kinds.control"),
    values=lambda scale: asdict(base_settings(scale)),
)
