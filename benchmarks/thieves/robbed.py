"""A stolen model after an attack, read from the file that the thief deploys."""

from dataclasses import asdict

from benchmarks.kind import Kind
from benchmarks.measurement import Measurement
from benchmarks.thieves.reading import CRITERION, examined
from benchmarks.thieves.released import THIEVES
from benchmarks.thieves.robberies import LABELS, Robbery, attack_of, robberies
from benchmarks.thieves.services import LabelsOnly
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["ROBBED"]


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from benchmarks.thieves.file import as_file, opened

    released, marked, *siblings = unit.needs
    data = workshop.owner_data(marked.setting, unit.seed).train
    (robbery,) = (
        found for found in robberies(unit.model, len(data)) if found.setting == unit.setting
    )
    record = WatermarkRecord.from_bytes(workshop.store.read(released, "record"))
    stolen = workshop.stolen(workshop.load(marked))
    others = [workshop.stolen(workshop.load(sibling)) for sibling in siblings]
    attacked = _attacked(workshop, robbery, [stolen, *others], data, unit.seed)
    reached = accuracy(attacked, workshop.data.validation, workshop.device)
    found = [Measurement(CRITERION, unit.model, "", unit.setting, "accuracy", reached)]
    content, _ = as_file(workshop, attacked)
    with opened(content) as suspect:
        found += examined(record, suspect).measurements(unit.model, unit.setting)
        if robbery.labels:
            labels = examined(record, LabelsOnly(suspect))
            found += labels.measurements(unit.model, LABELS.format(unit.setting))
    return found


def _attacked(
    workshop: Workshop,
    robbery: Robbery,
    models: list[TappedModel],
    data: LabelledData,
    seed: int,
) -> TappedModel:
    from deepsigns_registry.attacks.finetune import Finetune
    from deepsigns_registry.attacks.merge import mean_of

    if robbery.siblings:
        finetune = Finetune(mixed_precision=True)
        strength = finetune.parse(robbery.strength)
        return finetune.apply(mean_of(models), strength, data, seed=seed)
    attack = attack_of(robbery, workshop.settings)
    return attack.apply(models[0], attack.parse(robbery.strength), data, seed=seed)


ROBBED = Kind(
    _do,
    code=(*THIEVES, "benchmarks.thieves.robbed", "deepsigns_registry.attacks"),
    values=lambda _scale: {
        f"{model}, {samples}": [asdict(found) for found in robberies(model, samples)]
        for model, samples in (("mlp", 60_000), ("cnn", 20_000))
    },
    packages=("onnx", "onnxruntime"),
)
