"""A setting that costs more accuracy, and what it leaves in a thief's student."""

from collections.abc import Iterator
from dataclasses import asdict, replace

from benchmarks.kind import Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.thieves.reading import CRITERION, examined
from benchmarks.thieves.released import THIEVES
from benchmarks.thieves.robberies import Robbery, attack_of, robberies
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.watermark.fidelity import accuracy

__all__ = ["COST", "MARGIN", "STRONGER", "stronger_robberies", "stronger_setting"]

MARGIN = 4.0
"""`cells_margin` of the stronger setting."""
COST = f"marked with cells_margin = {MARGIN:g}, against the same fine-tuning without a mark"

_ATTACKS = ("distill", "distill_other", "distill_hard")


def stronger_setting(robbery: Robbery) -> str:
    """Name of an attack on a model marked so."""
    return f"cells_margin = {MARGIN:g}: {robbery.setting}"


def stronger_robberies(model: str, samples: int) -> Iterator[Robbery]:
    """The attacks that the stronger setting is for."""
    for robbery in robberies(model, samples):
        if robbery.attack in _ATTACKS:
            yield robbery


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from benchmarks.thieves.file import as_file, opened

    parent, control = unit.needs
    data = workshop.owner_data(parent.setting, unit.seed)
    model = workshop.load(parent)
    settings = replace(workshop.settings, cells_margin=MARGIN)
    record = workshop.mark(model, data, key_of("stronger", unit.model, unit.seed), settings)
    plain, marked = (
        accuracy(each, data.validation, workshop.device) for each in (workshop.load(control), model)
    )
    found = [Measurement("fidelity", unit.model, BOTH, COST, "drop", plain - marked, "mean")]
    for robbery in stronger_robberies(unit.model, len(data.train)):
        attack = attack_of(robbery, workshop.settings)
        student = attack.apply(
            workshop.stolen(model), attack.parse(robbery.strength), data.train, seed=unit.seed
        )
        setting = stronger_setting(robbery)
        reached = accuracy(student, data.validation, workshop.device)
        found.append(Measurement(CRITERION, unit.model, "", setting, "accuracy", reached))
        content, _ = as_file(workshop, student)
        with opened(content) as suspect:
            found += examined(record, suspect).measurements(unit.model, setting)
    return found


STRONGER = Kind(
    _do,
    code=(*THIEVES, "benchmarks.thieves.stronger", "deepsigns_registry.attacks"),
    values=lambda scale: {"margin": MARGIN, **asdict(base_settings(scale))},
    packages=("onnx", "onnxruntime"),
)
