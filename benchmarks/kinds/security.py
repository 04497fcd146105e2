"""Security: can anybody without the key tell a marked model from an unmarked one?

Small perceptrons, 784-256-256-10, each trained on 4,000 samples of its own; from each parent one
model is marked by both our schemes, one by each alone, one by Uchida's, and one is fine-tuned
without a mark.
"""

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.detectors import DETECTORS, Detection, ModelView, detect
from benchmarks.kind import EMBEDDING, Kind
from benchmarks.measurement import Measurement
from benchmarks.models import mlp
from benchmarks.recipes import Recipe, train_owner
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.tapped import run_batched

__all__ = ["DETECTION", "MODEL", "PAIR", "detector_setting"]

MODEL = "mlp 784-256-256-10"
_SAMPLES = 4_000
_SEEN = 1_000
_EPOCHS = 8
_OURS = "whitebox+blackbox"
_MARKS = (_OURS, "whitebox", "blackbox", "uchida")


def detector_setting(detector: str) -> str:
    """Name of a detector in results."""
    return f"detector: statistics of {detector}"


def _pair(workshop: Workshop, unit: Unit) -> list[Measurement]:
    data = _samples(workshop, unit.seed)
    torch.manual_seed(unit.seed)
    shape = data.train.inputs.shape
    module = mlp((shape[1], shape[2], shape[3]), data.classes, hidden=(256, 256))
    train_owner(
        module,
        data.train,
        Recipe(),
        epochs=workshop.scale.epochs(_EPOCHS),
        seed=unit.seed,
        device=workshop.device,
    )
    parent = workshop.tapped(module)
    views = {"control": _finetuned(workshop, parent, data, None, unit.seed)}
    for mark in _MARKS:
        schemes = None if mark == _OURS else tuple(named_schemes([mark]))
        views[mark] = _finetuned(workshop, parent, data, (mark, schemes), unit.seed)
    arrays = {
        f"{name}.{place}": array
        for name, view in views.items()
        for place, array in enumerate((view.activation, *view.weights))
    }
    content = io.BytesIO()
    named: dict[str, Any] = arrays | {"labels": views["control"].labels}
    np.savez_compressed(content, **named)
    workshop.store.write(unit, "views.npz", content.getvalue())
    return []


def _finetuned(
    workshop: Workshop,
    parent: EagerTappedModel,
    data: TrainingData,
    mark: tuple[str, Sequence[Scheme] | None] | None,
    seed: int,
) -> ModelView:
    model = workshop.stolen(parent)
    if mark is None:
        embed(model, data, None, workshop.settings, device=workshop.device)
    else:
        root = key_of("security", mark[0], seed)
        workshop.mark(model, data, root, workshop.settings, mark[1])
    seen = data.validation.inputs[:_SEEN]
    return ModelView(
        weights=tuple(
            weight.detach().cpu().numpy() for weight in model.parameters() if weight.ndim > 1
        ),
        activation=run_batched(model, seen, workshop.device)[1],
        labels=data.validation.labels[:_SEEN],
    )


def _samples(workshop: Workshop, seed: int) -> TrainingData:
    train = workshop.data.train
    rows = np.random.default_rng(seed).permutation(len(train))[:_SAMPLES]
    part = LabelledData(train.inputs[rows], train.labels[rows])
    return TrainingData(part, workshop.data.validation, workshop.data.classes)


def _detection(workshop: Workshop, unit: Unit) -> list[Measurement]:
    views = [_read(workshop.store.read(pair, "views.npz")) for pair in unit.needs]
    controls = [view["control"] for view in views]
    found: list[Measurement] = []
    for mark in _MARKS:
        for detector in DETECTORS:
            result = detect(detector, [view[mark] for view in views], controls)
            found += _measured(mark, result)
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


def _read(content: bytes) -> dict[str, ModelView]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        views = {}
        for name in ("control", *_MARKS):
            count = sum(key.startswith(f"{name}.") for key in arrays.files)
            activation, *weights = (arrays[f"{name}.{place}"] for place in range(count))
            views[name] = ModelView(tuple(weights), activation, arrays["labels"])
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
