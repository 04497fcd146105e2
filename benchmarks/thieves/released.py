"""The marked model as the owner releases it: the file, and the record that knows its tap."""

import tempfile
from pathlib import Path

from benchmarks.kind import READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.thieves.reading import CRITERION, examined
from benchmarks.thieves.robberies import AS_MARKED, LABELS
from benchmarks.thieves.services import LabelsOnly
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.fidelity import accuracy

__all__ = ["RELEASED", "THIEVES"]

THIEVES = (
    *READING,
    "benchmarks.thieves.file",
    "benchmarks.thieves.reading",
    "benchmarks.thieves.services",
    "deepsigns_registry.graph",
)
"""Modules that decide what is read from a file."""


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from benchmarks.thieves.file import as_file, opened
    from deepsigns_registry.graph.wiring import parent_blueprint

    marked, parent = unit.needs
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as name:
        path = Path(name) / "parent.onnx"
        content, tap = as_file(workshop, workshop.load(parent))
        path.write_bytes(content)
        blueprint = parent_blueprint(path, tap)
    model = workshop.load(marked)
    content, tap = as_file(workshop, model)
    record = workshop.record(marked).with_tap(tap, blueprint)
    workshop.store.write(unit, "record", record.to_bytes())
    workshop.store.write(unit, "onnx", content)
    reached = accuracy(model, workshop.data.validation, workshop.device)
    found = [Measurement(CRITERION, unit.model, "", AS_MARKED, "accuracy", reached)]
    with opened(content) as suspect:
        found += examined(record, suspect).measurements(unit.model, AS_MARKED)
        labels = examined(record, LabelsOnly(suspect))
    return [*found, *labels.measurements(unit.model, LABELS.format(AS_MARKED))]


RELEASED = Kind(
    _do,
    code=(*THIEVES, "benchmarks.thieves.released"),
    packages=("onnx", "onnxruntime"),
)
