"""What is measured of a model after an attack that changed its weights."""

from benchmarks.measurement import Measurement
from benchmarks.readings import read
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["attacked_measurements"]


def attacked_measurements(
    workshop: Workshop, unit: Unit, record: WatermarkRecord, attacked: TappedModel
) -> list[Measurement]:
    """Accuracy, what is left of the marks, and that this was one seed."""
    reached = accuracy(attacked, workshop.data.validation, workshop.device)
    reading = read(record, TappedSuspect(attacked, workshop.device))
    return [
        Measurement("robustness", unit.model, "", unit.setting, "accuracy", reached),
        *reading.measurements("robustness", unit.model, unit.setting),
        Measurement("robustness", unit.model, "", unit.setting, "seeds", 1, "sum"),
    ]
