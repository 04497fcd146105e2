"""Models that were never marked, read with real keys in every way that a file is read."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.kind import Kind
from benchmarks.measurement import Measurement
from benchmarks.recipes import Recipe, train_owner
from benchmarks.scale import FULL, Scale
from benchmarks.thieves.reading import CRITERION, Finding, examined
from benchmarks.thieves.released import THIEVES
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["LEVELS", "NULL_SETTING", "READ_NULLS", "Size", "rate_at", "size_of"]

LEVELS = (1e-1, 1e-2, 1e-3)
NULL_SETTING = "models that were never marked"

# What a model that has nothing to do with the owner's is trained on.
_SAMPLES, _EPOCHS = 4_000, 3


@dataclass(frozen=True)
class Size:
    """How many are read; every unit has models and keys of its own, and one parent with others.

    Attributes:
        units: How often.
        unrelated: Models of the same architecture from another start, on other samples.
        siblings: The parent, fine-tuned as for marking but without a mark.
        keys: Real keys, each read from all of these.
    """

    units: int
    unrelated: int
    siblings: int
    keys: int


def size_of(scale: Scale) -> Size:
    """100 unrelated models and 20 siblings, 100 keys each, in the full run."""
    return Size(10, 10, 2, 100) if scale.name == FULL.name else Size(3, 2, 1, 10)


def rate_at(level: float) -> str:
    """Name of a share of the readings in results.

    Examples:
        >>> rate_at(0.01)
        'rate of p <= 0.01'
    """
    return f"rate of p <= {level:g}"


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from onnx import ModelProto

    from benchmarks.thieves.file import as_file
    from benchmarks.thieves.inside import InsideSuspect
    from deepsigns_registry.graph.interpreter import OnnxTappedModel
    from deepsigns_registry.graph.wiring import parent_blueprint

    (parent,) = unit.needs
    size, number = size_of(workshop.scale), int(unit.setting)
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as name:
        path = Path(name) / "parent.onnx"
        content, tap = as_file(workshop, workshop.load(parent))
        path.write_bytes(content)
        blueprint = parent_blueprint(path, tap)
    records = [
        _record(workshop, parent, key).with_tap(tap, blueprint)
        for key in range(number * size.keys, (number + 1) * size.keys)
    ]
    models = [
        *(_unrelated(workshop, unit, number * size.unrelated + n) for n in range(size.unrelated)),
        *(_sibling(workshop, parent, number * size.siblings + n) for n in range(size.siblings)),
    ]
    findings = []
    for model in models:
        file, found = as_file(workshop, model)
        view = OnnxTappedModel.from_proto(ModelProto.FromString(file), found)
        suspect = InsideSuspect(view)
        findings += [examined(record, suspect) for record in records]
    return _measured(unit.model, findings)


def _record(workshop: Workshop, parent: Unit, key: int) -> WatermarkRecord:
    data = workshop.owner_data(parent.setting, parent.seed)
    root = key_of("thieves' nulls", parent.model, key)
    model, device = workshop.load(parent), workshop.device
    return prepare_record(
        model, data, root, workshop.settings, device=device, blueprint=workshop.blueprint(model)
    )


def _unrelated(workshop: Workshop, unit: Unit, number: int) -> TappedModel:
    seed = 10_000 + number
    rows = np.random.default_rng(seed).permutation(len(workshop.data.train))[:_SAMPLES]
    train = workshop.data.train
    module = train_owner(
        workshop.fresh(unit.model, seed),
        LabelledData(train.inputs[rows], train.labels[rows]),
        Recipe(),
        epochs=_EPOCHS,
        seed=seed,
        device=workshop.device,
    )
    return workshop.tapped(module)


def _sibling(workshop: Workshop, parent: Unit, number: int) -> TappedModel:
    from deepsigns_registry.attacks.training import randomness

    model = workshop.load(parent)
    data = workshop.owner_data(parent.setting, parent.seed)
    with randomness(number, workshop.device):
        embed(model, data, None, workshop.settings, device=workshop.device)
    return model


def _measured(model: str, findings: list[Finding]) -> list[Measurement]:
    found = []
    for scheme in (*findings[0].schemes, "joint"):
        values = np.array([{**item.schemes, **item.groups}[scheme] for item in findings])
        for level in LEVELS:
            rate = float((values <= np.log10(level)).mean())
            found.append(
                Measurement(CRITERION, model, scheme, NULL_SETTING, rate_at(level), rate, "mean")
            )
        lowest = float(values.min())
        found.append(
            Measurement(
                CRITERION, model, scheme, NULL_SETTING, "log10 p (lowest)", lowest, "lowest"
            )
        )
    present = float(sum(item.word == "present" for item in findings))
    return [
        *found,
        Measurement(CRITERION, model, "joint", NULL_SETTING, "readings", len(findings), "sum"),
        Measurement(CRITERION, model, "joint", NULL_SETTING, "verdicts 'present'", present, "sum"),
    ]


READ_NULLS = Kind(
    _do,
    code=(*THIEVES, "benchmarks.thieves.nulls", "benchmarks.thieves.inside", "benchmarks.recipes"),
    values=lambda scale: asdict(base_settings(scale)) | asdict(size_of(scale)),
    packages=("onnx", "onnxruntime"),
)
