"""The retraining stage: what the training child does beside a model it does not trust.

It holds the watermark secret in memory and no signing key. What it returns is checked again by
the worker, from the exported files, before anything is signed.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.config import ModelSettings, load_settings
from deepsigns_registry.retraining.data import load_training_data
from deepsigns_registry.retraining.source import load_program, output_classes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from deepsigns_registry.engine.jobs import JobProgress
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
    from deepsigns_registry.watermark.data import TrainingData
    from deepsigns_registry.watermark.settings import MarkSettings

__all__ = [
    "MARKED_ONNX",
    "MARKED_PROGRAM",
    "StageResult",
    "mark_model",
    "mark_settings",
    "open_model",
    "run_program",
    "training_device",
]

MARKED_PROGRAM = "model.pt2"
MARKED_ONNX = "model.onnx"
_EXAMPLE_ROWS = 4


@dataclass(frozen=True, repr=False)
class StageResult:
    """What the training child returns beside the files.

    Attributes:
        record: The watermark record, serialised; secret.
        layer: Why the tap is where it is; secret, as it names the layer.
        parent_accuracy: Share of validation samples that the parent gets right.
        marked_accuracy: The same for the marked model.
        drop: Paired loss of accuracy.
        interval: Its 95% interval.
        device: Where the stage ran.
        seconds: How long preparation and embedding took.
    """

    record: bytes
    layer: str
    parent_accuracy: float
    marked_accuracy: float
    drop: float
    interval: tuple[float, float]
    device: str
    seconds: float


def mark_model(
    *,
    progress: "JobProgress",
    source: Path,
    config: Path,
    model: str,
    root: bytes,
    owner: bytes,
    record: bytes | None,
    out: Path,
) -> StageResult:
    """Marks one model; a job for `engine`.

    Args:
        progress: Told how far the stage is.
        source: Folder of the unmarked version.
        config: The settings file.
        model: Name of the registered model.
        root: The root key, 32 bytes.
        owner: The owner's identity, 32 bytes.
        record: The record of an earlier, interrupted attempt, to be embedded again.
        out: Existing folder for the marked program and ONNX file.

    Raises:
        DataError: The owner's data cannot be used.
        UnmarkableError: The model cannot carry the mark.
    """
    import torch

    from deepsigns_registry.graph.export import export_onnx
    from deepsigns_registry.watermark.embed import embed
    from deepsigns_registry.watermark.fidelity import correct, paired_drop
    from deepsigns_registry.watermark.key import RootKey
    from deepsigns_registry.watermark.prepare import prepare_record
    from deepsigns_registry.watermark.record import WatermarkRecord

    started = time.monotonic()
    settings = load_settings(config)
    options = mark_settings(settings.model(model))
    device = training_device()
    progress(0.02, "loading the model and the data")
    tapped, data, layer = open_model(source, config, model, device)
    parent_correct = correct(tapped, data.validation, device)
    progress(0.05, "deriving the secret")
    secret = (
        prepare_record(tapped, data, RootKey(root, owner), options, device=device)
        if record is None
        else WatermarkRecord.from_bytes(record)
    )
    embed(
        tapped,
        data,
        secret,
        options,
        device=device,
        progress=lambda fraction, message: progress(0.1 + 0.7 * fraction, f"marking, {message}"),
    )
    seconds = time.monotonic() - started
    progress(0.82, "measuring fidelity")
    marked_correct = correct(tapped, data.validation, device)
    drop, low, high = paired_drop(parent_correct, marked_correct)
    progress(0.85, "exporting")
    tapped.to("cpu")
    torch.export.save(tapped.write_back(), out / MARKED_PROGRAM)
    tap = export_onnx(tapped, data.validation.inputs[:_EXAMPLE_ROWS], out / MARKED_ONNX)
    progress(1.0, "marked")
    return StageResult(
        record=secret.with_tap(tap).to_bytes(),
        layer=layer,
        parent_accuracy=float(parent_correct.mean()),
        marked_accuracy=float(marked_correct.mean()),
        drop=drop,
        interval=(low, high),
        device=_device_name(device),
        seconds=seconds,
    )


def open_model(
    source: Path, config: Path, model: str, device: "torch.device"
) -> "tuple[ExportedTappedModel, TrainingData, str]":
    """Loads a version's model, tapped, and the owner's data that fits it.

    Returns:
        The tapped model on `device`, the data, and why the tap is where it is.

    Raises:
        DataError: The owner's data cannot be used.
        UnmarkableError: The model cannot carry the mark.
    """
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel, choose_tap

    settings = load_settings(config)
    program = load_program(source)
    tap, why = choose_tap(program, settings.model(model).layer)
    data = load_training_data(settings, model, classes=output_classes(program))
    tapped = ExportedTappedModel(program, tap)
    tapped.to(device)
    return tapped, data, why


def run_program(
    *,
    progress: "JobProgress",
    folder: Path,
    config: Path,
    model: str,
    inputs: "NDArray[np.float32]",
) -> "NDArray[np.float32]":
    """Runs the program of a finished version's folder; a job for `engine`.

    Args:
        progress: Told that it runs.
        folder: The finished version.
        config: The settings file.
        model: Name of the registered model.
        inputs: float32 [n, ...].

    Returns:
        Outputs float32 [n, classes].
    """
    import torch

    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel, choose_tap
    from deepsigns_registry.watermark.extract import TappedSuspect

    progress(0.0, "reading the marked program")
    program = load_program(folder)
    tap, _ = choose_tap(program, load_settings(config).model(model).layer)
    with torch.no_grad():
        outputs, _ = TappedSuspect(ExportedTappedModel(program, tap)).run(inputs, tap=None)
    return outputs


def mark_settings(model: ModelSettings) -> "MarkSettings":
    """The part of `[models.<name>]` that the method needs."""
    from deepsigns_registry.watermark.settings import MarkSettings

    return MarkSettings(
        bits=model.bits,
        carriers=model.carriers,
        queries=model.queries,
        triggers_per_class=model.triggers_per_class,
        epochs=model.epochs,
        learning_rate=model.learning_rate,
        batch_size=model.batch_size,
        seed=model.seed,
    )


def training_device() -> "torch.device":
    """CUDA when there is one, else the processor with every core it may use."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return torch.device("cpu")


def _device_name(device: "torch.device") -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
