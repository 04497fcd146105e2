"""Integrity: a million random keys against every model that was never marked."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from benchmarks.integrity import (
    LEVELS,
    Null,
    blackbox_null,
    claims,
    exceedances,
    trigger_means,
    whitebox_null,
)
from benchmarks.kind import EMBEDDING, Kind
from benchmarks.kinds.finetuned import FINETUNINGS
from benchmarks.measurement import BOTH, Measurement
from benchmarks.recipes import Recipe, train_owner
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.calibrated import calibrated_answers
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import Preparation
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["ALL", "NULLS", "STRANGER", "STRANGERS", "level_setting"]

ALL = "all"
STRANGERS = ("resnet", "transformer")
"""Other architectures, trained on a part of the data, a seed each."""

_SETS = 50
_QUERY_SETS = 5
_SAMPLES = 10_000
# A statement about every interval at once: so many at most are looked at in one run.
_INTERVALS = 1_000
_STRANGER_SAMPLES = 10_000


def level_setting(level: float) -> str:
    """Name of a level in results.

    Examples:
        >>> level_setting(1e-5)
        'random keys at 1e-05'
    """
    return f"random keys at {level:g}"


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    """Both parents of a seed, the control, and a fine-tuned copy of a parent."""
    full, half, control = unit.needs
    parent = workshop.load(full)
    models = [
        parent,
        workshop.load(half),
        workshop.load(control),
        _finetuned_copy(workshop, workshop.load(half), unit.seed),
    ]
    return _measured(workshop, workshop.load(half), models, unit.seed)


def _finetuned_copy(workshop: Workshop, model: EagerTappedModel, seed: int) -> TappedModel:
    from deepsigns_registry.attacks.finetune import Finetune

    data = workshop.thief_data(FINETUNINGS["fine-tuning 1e-3, other half"].part, seed)
    return Finetune(mixed_precision=True).apply(workshop.stolen(model), 2, data, seed=seed)


def _stranger(workshop: Workshop, unit: Unit) -> list[Measurement]:
    """A model of another architecture, and one of the usual as the parent of the queries."""
    (parent,) = unit.needs
    data = workshop.owner_data("full", unit.seed).train
    rows = np.random.default_rng(unit.seed).permutation(len(data))[:_STRANGER_SAMPLES]
    part = type(data)(data.inputs[rows], data.labels[rows])
    module = train_owner(
        workshop.fresh(unit.model, unit.seed),
        part,
        Recipe(),
        epochs=workshop.scale.epochs(3),
        seed=unit.seed,
        device=workshop.device,
    )
    narrow = MarkSettings(bits=64, carriers=8)
    model = workshop.tapped(module, narrow)
    return _measured(workshop, workshop.load(parent), [model], unit.seed)


def _measured(
    workshop: Workshop, parent: TappedModel, models: Iterable[TappedModel], seed: int
) -> list[Measurement]:
    found: list[Measurement] = []
    queries = _queries(workshop, parent, seed)
    asked = np.stack([logits.argmax(axis=1) for _, logits in queries])
    for number, model in enumerate(models):
        answers = np.stack([_answers(workshop, model, *given) for given in queries])
        nulls = {
            "whitebox": _whitebox(workshop, model, seed + 1000 * number),
            "blackbox": blackbox_null(
                answers,
                asked,
                classes=workshop.data.classes,
                keys=workshop.scale.keys,
                seed=seed + 1000 * number,
            ),
        }
        for scheme, null in nulls.items():
            found += _exceeded(scheme, null)
        found += [
            Measurement("integrity", ALL, BOTH, "random keys", "null models", 1, "sum"),
            Measurement("integrity", ALL, BOTH, "random keys", "keys a model", workshop.scale.keys),
            Measurement(
                "integrity",
                ALL,
                BOTH,
                "random keys",
                "verdicts 'present' after adjustment",
                sum(claims(null, tries=null.keys) for null in nulls.values()),
                "sum",
            ),
        ]
    return found


def _whitebox(workshop: Workshop, model: TappedModel, seed: int) -> Null:
    settings = workshop.settings
    data = workshop.data.train
    _, activation = run_batched(model, data.inputs[:_SAMPLES], workshop.device)
    means = trigger_means(
        activation,
        data.labels[:_SAMPLES],
        carriers=settings.carriers,
        triggers=settings.triggers_per_class,
        sets=_SETS,
        seed=seed,
    )
    bits = settings.least_bits // settings.carriers
    return whitebox_null(means, bits=bits, keys=workshop.scale.keys, seed=seed)


def _queries(
    workshop: Workshop, parent: TappedModel, seed: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Queries of a few derived keys, chosen as the package does, and the parent's logits there."""
    data, scheme = workshop.data, BlackBox()
    manifest = Manifest.of(data.train)
    found = []
    for number in range(_QUERY_SETS):
        root = RootKey((1000 * seed + number).to_bytes(32, "big"), bytes(32))
        subkey = root.subkey(scheme.name)
        known = Preparation(parent, data, manifest, subkey, workshop.device, workshop.settings)
        secret = scheme.prepare(known)
        logits = secret.arrays["parent_outputs"].astype(np.float32)
        found.append((scheme.probes(secret).inputs, logits))
    return found


def _answers(
    workshop: Workshop,
    model: TappedModel,
    inputs: NDArray[np.float32],
    parent: NDArray[np.float32],
) -> NDArray[np.int64]:
    outputs, _ = run_batched(model, inputs, workshop.device)
    return calibrated_answers(outputs, parent)


def _exceeded(scheme: str, null: Null) -> list[Measurement]:
    confidence = 1 - 0.05 / _INTERVALS
    found = []
    for item in exceedances(null, confidence=confidence):
        setting = level_setting(item.level)
        outside = not item.exact
        found += [
            Measurement(
                "integrity", ALL, scheme, setting, "models outside the interval", outside, "sum"
            ),
            Measurement(
                "integrity",
                ALL,
                scheme,
                setting,
                "rate of keys (highest)",
                item.seen / item.keys,
                "highest",
            ),
            Measurement("integrity", ALL, scheme, setting, "attainable rate", item.attainable),
        ]
    assert len(found) == 3 * len(LEVELS)  # noqa: S101 - every level has its rows
    return found


_CODE = (
    *EMBEDDING,
    "benchmarks.integrity",
    "benchmarks.kinds.nulls",
    "deepsigns_registry.attacks.losses",
    "deepsigns_registry.attacks.training",
)
NULLS = Kind(_do, code=_CODE, values=lambda scale: {"keys": scale.keys}, packages=("onnx",))
STRANGER = Kind(
    _stranger,
    code=(*_CODE, "benchmarks.models", "benchmarks.recipes"),
    values=lambda scale: {"keys": scale.keys},
)
