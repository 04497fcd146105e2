"""Pruning by magnitude, over the whole model and layer by layer, at every level."""

from benchmarks.kind import READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.readings import KEPT, Reading, keeps, read, worst
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.suspect import TappedSuspect

__all__ = ["LEVELS", "PRUNED"]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_KINDS = ("prune", "layer_prune")


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from deepsigns_registry.attacks.catalogue import builtin_attacks

    (marked,) = unit.needs
    model, record = workshop.load(marked), workshop.record(marked)
    validation = workshop.data.validation
    whole = accuracy(model, validation, workshop.device)
    found: list[Measurement] = []
    for kind in _KINDS:
        attack = builtin_attacks()[kind]
        kept: list[Reading] = [read(record, TappedSuspect(model, workshop.device))]
        for level in LEVELS:
            attacked = attack.apply(model, level, validation, seed=unit.seed)
            reached = accuracy(attacked, validation, workshop.device)
            reading = read(record, TappedSuspect(attacked, workshop.device))
            setting = f"{kind}:{level:g}"
            found.append(Measurement("robustness", unit.model, "", setting, "accuracy", reached))
            found += reading.measurements("robustness", unit.model, setting)
            if keeps(reached, whole):
                kept.append(reading)
        found += worst(kept, unit.model, f"{kind}, {KEPT}")
    return found


PRUNED = Kind(
    _do,
    code=(
        *READING,
        "benchmarks.kinds.pruned",
        "deepsigns_registry.attacks.prune",
        "deepsigns_registry.attacks.layer_prune",
    ),
    packages=("onnx",),
)
