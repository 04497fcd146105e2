"""Rewrites of the marked file, alone and in pairs: nothing is trained, and its answers stay."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.kind import Kind
from benchmarks.measurement import Measurement
from benchmarks.thieves.reading import CRITERION, examined
from benchmarks.thieves.released import THIEVES
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.record import WatermarkRecord

if TYPE_CHECKING:
    from onnx import ModelProto

    from deepsigns_registry.attacks.rewrite import Interface

__all__ = ["PAIRS", "REWRITES", "REWRITTEN", "rewrite_setting", "rewrite_settings"]

REWRITES = (
    *("orthogonal", "branches", "dummies", "bottleneck", "normalised", "scale", "inverted"),
    *("layout", "channels-last", "classes", "extra-class", "probabilities", "temperature"),
    "decoy",
)
"""Every kind of `rewrite:<kind>`."""

PAIRS = (
    *(("orthogonal", other) for other in REWRITES if other != "orthogonal"),
    *(("inverted", "classes"), ("dummies", "branches"), ("scale", "temperature")),
)
"""An orthogonal layer, which takes the rows away, with each other one; and some without it."""

# Its answers are the second output, which a view of the file does not give.
_SECOND_OUTPUT = "decoy"


def rewrite_setting(kinds: tuple[str, ...]) -> str:
    """Name of rewrites in results.

    Examples:
        >>> rewrite_setting(("orthogonal", "classes"))
        'rewritten: orthogonal + classes'
    """
    return f"rewritten: {' + '.join(kinds)}"


def rewrite_settings() -> Iterator[str]:
    """Names of all of them."""
    yield from (rewrite_setting((kind,)) for kind in REWRITES)
    yield from (rewrite_setting(pair) for pair in PAIRS)


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from onnx import ModelProto

    from benchmarks.thieves.file import opened
    from deepsigns_registry.attacks.rewrite import REWRITINGS, rewritten

    (released,) = unit.needs
    record = WatermarkRecord.from_bytes(workshop.store.read(released, "record"))
    kinds = unit.setting.partition(": ")[2].split(" + ")
    file, tap = ModelProto.FromString(workshop.store.read(released, "onnx")), record.tap
    row: tuple[int, ...] = workshop.data.validation.inputs.shape[1:]
    interfaces = []
    for name in kinds:
        (kind,) = (known for known in REWRITINGS if known.name == name)
        try:
            file, tap, interface = rewritten(file, kind, seed=unit.seed, row=row, tap=tap)
        except CouldNotCheckError:
            # Not every network has what every rewrite changes.
            return [Measurement(CRITERION, unit.model, "", unit.setting, "not possible", 1, "sum")]
        row = interface.row or row
        interfaces.append(interface)
    found = []
    if _SECOND_OUTPUT not in kinds:
        reached = _accuracy(file, interfaces, workshop.data.validation)
        found.append(Measurement(CRITERION, unit.model, "", unit.setting, "accuracy", reached))
    with opened(file.SerializeToString()) as suspect:
        found += examined(record, suspect).measurements(unit.model, unit.setting)
    return found


def _accuracy(file: "ModelProto", interfaces: "list[Interface]", data: LabelledData) -> float:
    """Of the thief's customers, who ask the file as it wants to be asked."""
    from benchmarks.thieves.inside import InsideSuspect
    from deepsigns_registry.graph.interpreter import OnnxTappedModel

    inputs: NDArray[np.float32] = data.inputs
    for interface in interfaces:
        inputs = interface.inputs(inputs)
    outputs, _ = InsideSuspect(OnnxTappedModel.from_proto(file)).run(inputs, tap=None)
    for interface in reversed(interfaces):
        outputs = interface.outputs(outputs)
    return float((outputs.argmax(axis=1) == data.labels).mean())


REWRITTEN = Kind(
    _do,
    code=(
        *THIEVES,
        "benchmarks.thieves.rewritten",
        "benchmarks.thieves.inside",
        "deepsigns_registry.attacks.rewrite",
    ),
    packages=("onnx", "onnxruntime"),
)
