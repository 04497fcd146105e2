"""Security: can anybody without the key tell a marked model from an unmarked one?

Small perceptrons, 784-256-256-10, each trained on 4,000 samples of its own; from each parent one
model is marked as by default, one by each of the first two schemes alone, one by `spread` alone,
one with `stealth`, one by Uchida's, and one is fine-tuned without a mark.
"""

import io
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.detectors import Detection, ModelView, detect
from benchmarks.kind import EMBEDDING, Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.models import mlp
from benchmarks.recipes import Recipe, train_owner
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.tapped import run_batched

__all__ = [
    "CONTROL",
    "DETECTION",
    "HIDDEN_AND_OPEN",
    "MODEL",
    "OPEN",
    "PAIR",
    "STEALTH",
    "detector_setting",
    "kept_model",
    "small_data",
]

MODEL = "mlp 784-256-256-10"
_SAMPLES = 4_000
_SEEN = 1_000
_EPOCHS = 8
CONTROL = "control"
STEALTH = "stealth"
"""The mark of `stealth = true`."""

OPEN = "spread"
"""The same scheme at its usual strength."""

HIDDEN_AND_OPEN = f"{STEALTH}, {OPEN}, {BOTH}"
"""Setting of pairs that have these marks alone; without one they have all."""

_MARKS = (BOTH, "whitebox", "blackbox", OPEN, STEALTH, "uchida")
_KEPT = (STEALTH, OPEN)
_CANONICAL = {STEALTH: "spread"}


def _marks_of(pair: Unit) -> tuple[str, ...]:
    return tuple(pair.setting.split(", ")) if pair.setting else _MARKS


def detector_setting(detector: str) -> str:
    """Name of a detector in results."""
    return f"detector: statistics of {detector}"


def small_data(workshop: Workshop, seed: int) -> TrainingData:
    """The owner's samples of one parent."""
    train = workshop.data.train
    rows = np.random.default_rng(seed).permutation(len(train))[:_SAMPLES]
    part = LabelledData(train.inputs[rows], train.labels[rows])
    return TrainingData(part, workshop.data.validation, workshop.data.classes)


def kept_model(workshop: Workshop, pair: Unit, name: str) -> EagerTappedModel:
    """One of a pair's models: `CONTROL`, `STEALTH` or `OPEN`."""
    module = _drawn(workshop)
    content = io.BytesIO(workshop.store.read(pair, f"{name}.pt"))
    module.load_state_dict(torch.load(content, weights_only=True))
    return workshop.tapped(module)


def _drawn(workshop: Workshop) -> nn.Module:
    shape = workshop.data.train.inputs.shape
    return mlp((shape[1], shape[2], shape[3]), workshop.data.classes, hidden=(256, 256))


def _pair(workshop: Workshop, unit: Unit) -> list[Measurement]:
    data = small_data(workshop, unit.seed)
    torch.manual_seed(unit.seed)
    module = _drawn(workshop)
    train_owner(
        module,
        data.train,
        Recipe(),
        epochs=workshop.scale.epochs(_EPOCHS),
        seed=unit.seed,
        device=workshop.device,
    )
    parent = workshop.tapped(module)
    control = workshop.stolen(parent)
    embed(control, data, None, workshop.settings, device=workshop.device)
    workshop.save(unit, control, CONTROL)
    views = {CONTROL: _view(workshop, control)}
    blueprint = workshop.blueprint(parent)
    for mark in _marks_of(unit):
        model, record = _marked(workshop, parent, data, mark, unit.seed)
        views[mark] = _view(workshop, model)
        if mark in _KEPT:
            workshop.save(unit, model, mark)
            record = record.with_tap("", blueprint)
            workshop.store.write(unit, f"{mark}.record", record.to_bytes())
    arrays = {
        f"{name}.{place}": array
        for name, view in views.items()
        for place, array in enumerate((view.outputs, view.activation, *view.weights))
    }
    content = io.BytesIO()
    named: dict[str, Any] = arrays | {"labels": views[CONTROL].labels}
    np.savez_compressed(content, **named)
    workshop.store.write(unit, "views.npz", content.getvalue())
    return []


def _marked(
    workshop: Workshop, parent: EagerTappedModel, data: TrainingData, mark: str, seed: int
) -> tuple[EagerTappedModel, WatermarkRecord]:
    model = workshop.stolen(parent)
    settings = replace(workshop.settings, stealth=mark == STEALTH)
    schemes = None if mark == BOTH else named_schemes([_CANONICAL.get(mark, mark)])
    root = key_of("security", mark, seed)
    return model, workshop.mark(model, data, root, settings, schemes)


def _view(workshop: Workshop, model: EagerTappedModel) -> ModelView:
    validation = workshop.data.validation
    outputs, activation = run_batched(model, validation.inputs[:_SEEN], workshop.device)
    return ModelView(
        weights=tuple(
            weight.detach().cpu().numpy() for weight in model.parameters() if weight.ndim > 1
        ),
        activation=activation,
        outputs=outputs,
        labels=validation.labels[:_SEEN],
    )


def _detection(workshop: Workshop, unit: Unit) -> list[Measurement]:
    views = [_read(workshop.store.read(pair, "views.npz"), _marks_of(pair)) for pair in unit.needs]
    controls = [view[CONTROL] for view in views]
    found: list[Measurement] = []
    for mark in _marks_of(unit.needs[0]):
        found += _measured(mark, detect(unit.setting, [view[mark] for view in views], controls))
    return found


def _measured(mark: str, result: Detection) -> list[Measurement]:
    values = {
        "AUC": result.auc,
        "AUC (95% low)": result.low,
        "AUC (95% high)": result.high,
        "p against chance": result.p,
        "pairs": result.pairs,
    }
    setting = detector_setting(result.detector)
    return [
        Measurement("security", MODEL, mark, setting, metric, value)
        for metric, value in values.items()
    ]


def _read(content: bytes, marks: tuple[str, ...]) -> dict[str, ModelView]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        views = {}
        for name in (CONTROL, *marks):
            count = sum(key.startswith(f"{name}.") for key in arrays.files)
            outputs, activation, *weights = (arrays[f"{name}.{place}"] for place in range(count))
            views[name] = ModelView(tuple(weights), activation, outputs, arrays["labels"])
    return views


PAIR = Kind(
    _pair,
    code=(*EMBEDDING, "benchmarks.kinds.security", "benchmarks.recipes", "deepsigns_uchida"),
    values=lambda scale: asdict(base_settings(scale)),
    packages=("deepsigns_uchida",),
)
DETECTION = Kind(
    _detection,
    code=("benchmarks.kinds.security", "benchmarks.detectors"),
    values=lambda scale: {"pairs": scale.pairs},
)
