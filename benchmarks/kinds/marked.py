"""A marked model: what it costs beside its parent, and whether the mark is read from it."""

from dataclasses import asdict

from benchmarks.kind import READING, Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.readings import read
from benchmarks.units import Unit
from benchmarks.workshop import Workshop, base_settings, key_of
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.suspect import TappedSuspect

__all__ = ["MARKED"]


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    (parent,) = unit.needs
    model = workshop.load(parent)
    data = workshop.owner_data(unit.setting, unit.seed)
    before = accuracy(model, data.validation, workshop.device)
    root = key_of("mark", unit.model, unit.setting, unit.seed)
    record = workshop.mark(model, data, root, workshop.settings)
    workshop.store.write(unit, "record", record.to_bytes())
    workshop.save(unit, model)
    after = accuracy(model, data.validation, workshop.device)
    reading = read(record, TappedSuspect(model, workshop.device))
    setting = f"marked on the {unit.setting} set"
    words = {word: float(reading.word == word) for word in ("absent", "present")}
    return [
        *reading.measurements("reliability", unit.model, setting),
        *(
            Measurement(
                "reliability", unit.model, BOTH, setting, f"verdicts '{word}'", value, "sum"
            )
            for word, value in words.items()
        ),
        Measurement("fidelity", unit.model, BOTH, setting, "accuracy", after, "low is worst"),
        Measurement(
            "fidelity",
            unit.model,
            BOTH,
            f"{setting}, against the parent",
            "drop",
            before - after,
            "mean",
        ),
    ]


MARKED = Kind(
    _do,
    code=(*READING, "benchmarks.kinds.marked"),
    values=lambda scale: asdict(base_settings(scale)),
)
