"""Overwriting: the thief embeds a mark of another key, as briefly as the owner and longer."""

from dataclasses import asdict

from benchmarks.kind import READING, Kind
from benchmarks.kinds.attacked import attacked_measurements
from benchmarks.measurement import Measurement
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings

__all__ = ["EPOCHS", "OVERWRITTEN", "overwriting_setting"]

EPOCHS = (1, 5)


def overwriting_setting(epochs: int) -> str:
    """Name of an overwriting in results.

    Examples:
        >>> overwriting_setting(5)
        'overwriting with another key, 5 epochs'
    """
    return f"overwriting with another key, {epochs} epoch{'s' * (epochs > 1)}"


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    """The thief has the owner's training set, and embeds by the owner's settings."""
    from deepsigns_registry.attacks.overwrite import Overwrite

    (marked,) = unit.needs
    (named,) = (epochs for epochs in EPOCHS if overwriting_setting(epochs) == unit.setting)
    record, model = workshop.record(marked), workshop.stolen(workshop.load(marked))
    attacked = Overwrite(settings=workshop.settings).apply(
        model, workshop.scale.epochs(named), workshop.thief_data("full", unit.seed), seed=unit.seed
    )
    return attacked_measurements(workshop, unit, record, attacked)


OVERWRITTEN = Kind(
    _do,
    code=(
        *READING,
        "benchmarks.kinds.attacked",
        "benchmarks.kinds.overwritten",
        "deepsigns_registry.attacks.overwrite",
        "deepsigns_registry.attacks.retap",
    ),
    values=lambda scale: asdict(base_settings(scale)),
    packages=("onnx",),
)
