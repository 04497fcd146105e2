"""Pruning by magnitude, over the whole model and layer by layer, at every level."""

from benchmarks.kinds.kind import READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.readings import Reading, read
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.suspect import TappedSuspect

__all__ = ["KEPT", "LEVELS", "PRUNED"]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_KINDS = ("prune", "layer_prune")
_KEPT_SHARE = 0.9
KEPT = "any level that keeps 90% of the accuracy"


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
            if reached >= _KEPT_SHARE * whole:
                kept.append(reading)
        found += _worst(kept, unit.model, f"{kind}, {KEPT}")
    return found


def _worst(readings: list[Reading], model: str, setting: str) -> list[Measurement]:
    """The most errors and the largest p-value of each scheme, at any of these levels."""
    return [
        Measurement("robustness", model, scheme, setting, metric, worst, "high is worst")
        for scheme in readings[0].errors
        for metric, worst in (
            (
                "wrong answers" if scheme == "blackbox" else "bit errors",
                max(reading.errors[scheme] for reading in readings),
            ),
            ("log10 p", max(reading.log10_p[scheme] for reading in readings)),
        )
    ]


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
