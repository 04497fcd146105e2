"""What happens to a deployed file: quantised, restructured, and read as an audit reads it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.kind import READING, Kind
from benchmarks.measurement import BOTH, Measurement
from benchmarks.readings import KEPT, Reading, keeps, read, worst
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.tapped import TappedModel

if TYPE_CHECKING:
    from deepsigns_registry.graph.interpreter import OnnxTappedModel

__all__ = ["FILES", "NOT_ALIGNED", "QUANTISATIONS", "RESTRUCTURED", "STRUCTURED", "UNRELATED"]

QUANTISATIONS = ("quantize:fp16", "quantize:int8", "quantize:static")
RESTRUCTURED = ("permute:0.5", "split:0.25")
STRUCTURED = "structured_prune"
STRUCTURED_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
NOT_ALIGNED = "readings not at level c"
UNRELATED = "unrelated model, {}"
_MODEL = "model.onnx"


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from deepsigns_registry.attacks import parse_attack
    from deepsigns_registry.graph.wiring import parent_blueprint

    marked, parent, unrelated = unit.needs
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as name:
        folder = Path(name)
        _, tap = _exported(workshop, workshop.load(parent), folder)
        blueprint = parent_blueprint(folder / _MODEL, tap)
        view, tap = _exported(workshop, workshop.load(marked), folder)
        record = workshop.record(marked).with_tap(tap, blueprint)
        plain = _read(record, view, folder)
        found = list(plain.measurements("reliability", unit.model, "exported to ONNX"))
        whole, kept = accuracy(view, workshop.data.validation), [plain]
        structured = [f"{STRUCTURED}:{level:g}" for level in STRUCTURED_LEVELS]
        for label in (*QUANTISATIONS, *RESTRUCTURED, *structured):
            attacked = parse_attack(label).apply(view, workshop.data.train, seed=unit.seed)
            reached = accuracy(attacked, workshop.data.validation)
            found.append(Measurement("robustness", unit.model, "", label, "accuracy", reached))
            reading = _read(record, attacked, folder)
            found += reading.measurements("robustness", unit.model, label)
            if label in RESTRUCTURED:
                found.append(_not_aligned(reading, unit.model, label))
            if label in structured and keeps(reached, whole):
                kept.append(reading)
        found += worst(kept, unit.model, f"{STRUCTURED}, {KEPT}")
        stranger, _ = _exported(workshop, workshop.load(unrelated), folder)
        for label in RESTRUCTURED:
            attacked = parse_attack(label).apply(stranger, workshop.data.train, seed=unit.seed)
            found += _unrelated(_read(record, attacked, folder), unit.model, label)
    return found


def _not_aligned(reading: Reading, model: str, label: str) -> Measurement:
    levels = [item.level for item in reading.extraction.evidence if item.scheme == "whitebox"]
    missing = float(levels != ["c"])
    return Measurement("robustness", model, "whitebox", label, NOT_ALIGNED, missing, "sum")


def _unrelated(reading: Reading, model: str, label: str) -> Iterator[Measurement]:
    setting = UNRELATED.format(label)
    for scheme, log10_p in reading.log10_p.items():
        yield Measurement(
            "integrity", model, scheme, setting, "log10 p (lowest)", log10_p, "lowest"
        )
    present = float(reading.word == "present")
    yield Measurement("integrity", model, BOTH, setting, "verdicts 'present'", present, "sum")


def _exported(
    workshop: Workshop, model: TappedModel, folder: Path
) -> "tuple[OnnxTappedModel, str]":
    from deepsigns_registry.graph.export import export_onnx
    from deepsigns_registry.graph.interpreter import OnnxTappedModel

    path = folder / _MODEL
    tap = export_onnx(model.to("cpu"), workshop.data.validation.inputs[:16], path)
    return OnnxTappedModel.from_file(path, tap), tap


def _read(record: WatermarkRecord, model: TappedModel, folder: Path) -> Reading:
    """Reads a file as an audit does: in a limited process, without help from the attack."""
    from deepsigns_registry.graph.interpreter import OnnxTappedModel
    from deepsigns_registry.graph.session import OnnxSuspect

    assert isinstance(model, OnnxTappedModel)  # noqa: S101 - attacks keep the adapter
    path = folder / "suspect.onnx"
    path.write_bytes(model.to_bytes())
    return read(record, OnnxSuspect(path, providers=("CPUExecutionProvider",)))


FILES = Kind(
    _do,
    code=(
        *READING,
        "benchmarks.kinds.files",
        "deepsigns_registry.attacks",
        "deepsigns_registry.graph",
    ),
    packages=("onnx", "onnxruntime"),
)
