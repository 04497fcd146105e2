"""Capacity: the same mark with more and more bits."""

from dataclasses import asdict, replace

from benchmarks.kind import READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.readings import read
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.suspect import TappedSuspect

__all__ = ["BITS", "CAPACITY", "bits_setting"]

BITS = (64, 128, 256, 512, 1024, 2048)


def bits_setting(bits: int) -> str:
    """Name of a number of bits in results.

    Examples:
        >>> bits_setting(512)
        '512 bits'
    """
    return f"{bits} bits"


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    """Marks the parent; the control is the one of the default settings."""
    parent, control = unit.needs
    model = workshop.load(parent)
    data = workshop.owner_data(parent.setting, unit.seed)
    bits = int(unit.setting.split()[0])
    settings = replace(workshop.settings, bits=bits)
    unmarked = accuracy(workshop.load(control), data.validation, workshop.device)
    try:
        record = workshop.mark(model, data, key_of("capacity", unit.model, unit.seed), settings)
    except UnmarkableError:
        # Refused before any training: none of the bits can be read, and nothing is lost.
        return _measured(unit, refused=1.0, errors=bits, share=1.0, drop=0.0)
    drop = unmarked - accuracy(model, data.validation, workshop.device)
    errors = read(record, TappedSuspect(model, workshop.device)).errors["whitebox"]
    return _measured(unit, refused=0.0, errors=errors, share=errors / bits, drop=drop)


def _measured(
    unit: Unit, *, refused: float, errors: int, share: float, drop: float
) -> list[Measurement]:
    def item(metric: str, value: float, over: str) -> Measurement:
        return Measurement("capacity", unit.model, "whitebox", unit.setting, metric, value, over)

    return [
        item("bit errors", errors, "high is worst"),
        item("bit error rate", share, "high is worst"),
        item("drop", drop, "mean"),
        item("refused", refused, "sum"),
        item("seeds", 1, "sum"),
    ]


CAPACITY = Kind(
    _do,
    code=(*READING, "benchmarks.kinds.capacity"),
    values=lambda scale: asdict(base_settings(scale)),
)
