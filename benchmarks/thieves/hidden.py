"""What is left of a mark that nobody sees, beside the same mark at its usual strength."""

from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.kind import Kind
from benchmarks.kinds.security import CONTROL, MODEL, OPEN, STEALTH, kept_model, small_data
from benchmarks.measurement import Measurement
from benchmarks.thieves.reading import ADJUSTED, examined
from benchmarks.thieves.released import THIEVES
from benchmarks.thieves.robberies import AS_MARKED, Robbery, attack_of, robberies
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["COST", "HIDDEN", "HIDDEN_CRITERION", "hidden_settings"]

HIDDEN_CRITERION = "security"
COST = "marked, against the same fine-tuning without a mark"

_ATTACKS = ("prune", "structured_prune", "finetune")
_SAMPLES = 4_000


def hidden_settings() -> tuple[str, ...]:
    """Names of what is done to the models."""
    return (AS_MARKED, *(robbery.setting for robbery in _robberies()))


def _robberies() -> Iterator[Robbery]:
    # Of the fine-tunings the shortest.
    for name in _ATTACKS:
        yield next(found for found in robberies("mlp", _SAMPLES) if found.attack == name)


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    (pair,) = unit.needs
    data = small_data(workshop, unit.seed)
    plain = accuracy(kept_model(workshop, pair, CONTROL), data.validation, workshop.device)
    found: list[Measurement] = []
    for mark in (STEALTH, OPEN):
        record = WatermarkRecord.from_bytes(workshop.store.read(pair, f"{mark}.record"))
        model = kept_model(workshop, pair, mark)
        drop = plain - accuracy(model, data.validation, workshop.device)
        found.append(Measurement(HIDDEN_CRITERION, MODEL, mark, COST, "drop", drop, "mean"))
        found += _left(workshop, record, model, mark, AS_MARKED)
        for robbery in _robberies():
            attack = attack_of(robbery, workshop.settings)
            strength = attack.parse(robbery.strength)
            robbed = attack.apply(workshop.stolen(model), strength, data.train, seed=unit.seed)
            found += _left(workshop, record, robbed, mark, robbery.setting)
    return found


def _left(
    workshop: Workshop, record: WatermarkRecord, model: TappedModel, mark: str, setting: str
) -> Iterator[Measurement]:
    """Read from the file, as an auditor does."""
    from benchmarks.thieves.file import as_file, opened

    content, _ = as_file(workshop, model)
    with opened(content) as suspect:
        value = examined(record, suspect).groups["joint"]
    yield Measurement(HIDDEN_CRITERION, MODEL, mark, setting, ADJUSTED, value, "high is worst")


HIDDEN = Kind(
    _do,
    code=(
        *THIEVES,
        "benchmarks.kinds.security",
        "benchmarks.thieves.hidden",
        "deepsigns_registry.attacks",
    ),
    values=lambda scale: asdict(base_settings(scale)),
    packages=("onnx", "onnxruntime"),
)
