"""The retraining stage: what the training child does beside a model it does not trust.

It holds the watermark secret in memory and no signing key. What it returns is checked again by
the worker, from the exported files, before anything is signed.
"""

import logging
import os
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.config import ModelSettings, load_settings
from deepsigns_registry.errors import CheckpointError, ConfigurationError, CouldNotCheckError
from deepsigns_registry.retraining.checkpoints import Checkpoints
from deepsigns_registry.retraining.data import load_training_data
from deepsigns_registry.retraining.source import load_program, output_width

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch.export import ExportedProgram

    from deepsigns_registry.engine.jobs import JobProgress
    from deepsigns_registry.watermark.adapters.choice import TapChoice
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
    from deepsigns_registry.watermark.data import TrainingData
    from deepsigns_registry.watermark.fidelity import Cost
    from deepsigns_registry.watermark.scheme import Scheme
    from deepsigns_registry.watermark.settings import MarkSettings

__all__ = [
    "MARKED_ONNX",
    "MARKED_PROGRAM",
    "StageResult",
    "chosen_schemes",
    "mark_model",
    "mark_settings",
    "open_model",
    "prepare_mark",
    "run_program",
    "training_device",
]

MARKED_PROGRAM = "model.pt2"
MARKED_ONNX = "model.onnx"
_EXAMPLE_ROWS = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """What the training child returns beside the files.

    Attributes:
        cost: What the mark costs on the validation samples.
        device: Where the stage ran.
    """

    cost: "Cost"
    device: str


def prepare_mark(
    *,
    progress: "JobProgress",
    source: Path,
    config: Path,
    model: str,
    root: bytes,
    owner: bytes,
    scratch: Path,
) -> bytes:
    """Derives the secret of one mark, before any training; a job for `engine`.

    The unmarked parent is exported once, which tells how the tap's tensor will be called in the
    marked file: the graph is the same, so the record is complete before training starts.

    Args:
        progress: Told how far it is.
        source: Folder of the unmarked version.
        config: The settings file.
        model: Name of the registered model.
        root: The root key, 32 bytes.
        owner: The owner's identity, 32 bytes.
        scratch: Existing folder for the parent's export.

    Returns:
        The serialised watermark record; secret.

    Raises:
        ConfigurationError: The settings name a scheme that is not installed.
        CouldNotCheckError: The plugin of a scheme is broken.
        DataError: The owner's data cannot be used.
        UnmarkableError: The model cannot carry the mark.
    """
    from deepsigns_registry.graph.export import export_onnx
    from deepsigns_registry.graph.wiring import parent_blueprint
    from deepsigns_registry.watermark.key import RootKey
    from deepsigns_registry.watermark.prepare import prepare_record

    settings = load_settings(config).model(model)
    options, schemes = mark_settings(settings), chosen_schemes(settings)
    device = training_device()
    progress(0.0, "loading the model and the data")
    choice = _chosen_tap(load_program(source), settings)
    progress(0.1, f"the mark goes into {choice.public}")
    tapped, data = open_model(source, config, model, device)
    record = prepare_record(
        tapped,
        data,
        RootKey(root, owner),
        options,
        device=device,
        progress=lambda fraction, message: progress(0.3 + 0.3 * fraction, message),
        schemes=schemes,
    )
    progress(0.6, "exporting the parent")
    tapped.to("cpu")
    exported = scratch / "parent.onnx"
    tap = export_onnx(tapped, data.validation.inputs[:_EXAMPLE_ROWS], exported)
    blueprint = parent_blueprint(exported, tap)
    return record.with_tap(tap, blueprint, schemes=schemes).to_bytes()


def mark_model(
    *,
    progress: "JobProgress",
    source: Path,
    config: Path,
    model: str,
    record: bytes,
    checkpoints: Path,
    marking: str,
    out: Path,
) -> StageResult:
    """Embeds a prepared mark; a job for `engine`.

    It goes on after the last state that an earlier process kept.

    Args:
        progress: Told how far the stage is.
        source: Folder of the unmarked version.
        config: The settings file.
        model: Name of the registered model.
        record: From `prepare_mark`.
        checkpoints: Folder of unfinished trainings.
        marking: Name of the marking.
        out: Existing folder for the marked program and ONNX file.

    Raises:
        UnmarkableError: Training diverged, or the marked model cannot be exported.
        CouldNotCheckError: The marked file is built differently from the parent's.
    """
    import torch

    from deepsigns_registry.graph.export import export_onnx
    from deepsigns_registry.watermark.embed import embed
    from deepsigns_registry.watermark.fidelity import mark_cost
    from deepsigns_registry.watermark.record import WatermarkRecord
    from deepsigns_registry.watermark.tapped import run_batched

    options = mark_settings(load_settings(config).model(model))
    secret = WatermarkRecord.from_bytes(record)
    device = training_device()
    progress(0.0, "loading the model and the data")
    tapped, data = open_model(source, config, model, device)
    parent_outputs, _ = run_batched(tapped, data.validation.inputs, device)
    saved = Checkpoints(checkpoints, marking, secret.root.secret)
    train = partial(
        embed,
        data=data,
        record=secret,
        settings=options,
        device=device,
        progress=lambda fraction, message: progress(0.05 + 0.8 * fraction, f"marking, {message}"),
        checkpoint=saved.save,
    )
    try:
        train(tapped, resume=saved.load())
    except CheckpointError as error:
        _log.warning("%s: %s; training starts from the beginning", marking, error.message)
        saved.discard()
        tapped, _ = open_model(source, config, model, device)
        train(tapped)
    progress(0.87, "measuring fidelity")
    marked_outputs, _ = run_batched(tapped, data.validation.inputs, device)
    progress(0.9, "exporting")
    tapped.to("cpu")
    torch.export.save(tapped.write_back(), out / MARKED_PROGRAM)
    tap = export_onnx(tapped, data.validation.inputs[:_EXAMPLE_ROWS], out / MARKED_ONNX)
    if tap != secret.tap:
        raise CouldNotCheckError("the marked model was exported as another graph than its parent")
    return StageResult(
        cost=mark_cost(parent_outputs, marked_outputs, data.validation),
        device=_device_name(device),
    )


def open_model(
    source: Path, config: Path, model: str, device: "torch.device"
) -> "tuple[ExportedTappedModel, TrainingData]":
    """Loads a version's model, tapped, and the owner's data that fits it.

    Returns:
        The tapped model on `device`, and the data.

    Raises:
        DataError: The owner's data cannot be used.
        UnmarkableError: The model cannot carry the mark.
    """
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel

    settings = load_settings(config)
    program = load_program(source)
    tap = _chosen_tap(program, settings.model(model)).tap
    outputs = output_width(program, settings.model(model).task)
    data = load_training_data(settings, model, classes=outputs)
    tapped = ExportedTappedModel(program, tap)
    tapped.to(device)
    return tapped, data


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

    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
    from deepsigns_registry.watermark.suspect import TappedSuspect

    progress(0.0, "reading the marked program")
    program = load_program(folder)
    tap = _chosen_tap(program, load_settings(config).model(model)).tap
    with torch.no_grad():
        outputs, _ = TappedSuspect(ExportedTappedModel(program, tap)).run(inputs, tap=None)
    return outputs.reshape(len(inputs), -1)


def _chosen_tap(program: "ExportedProgram", model: ModelSettings) -> "TapChoice":
    from deepsigns_registry.watermark.adapters.exported import choose_tap
    from deepsigns_registry.watermark.carriers import MOST_COMPONENTS
    from deepsigns_registry.watermark.whitebox import width_needed

    groups = MOST_COMPONENTS
    if model.task == "classification":
        groups = output_width(program, model.task)
    width = width_needed(mark_settings(model), groups)
    return choose_tap(program, model.layer, width=width)


def mark_settings(model: ModelSettings) -> "MarkSettings":
    """The part of `[models.<name>]` that the method needs."""
    from deepsigns_registry.watermark.settings import MarkSettings

    shared = {field.name for field in fields(MarkSettings)} & set(ModelSettings.model_fields)
    return MarkSettings(**{name: getattr(model, name) for name in shared})


def chosen_schemes(model: ModelSettings) -> "list[Scheme] | None":
    """The schemes of `[models.<name>]`; None for our own, as far as they suit the model.

    Raises:
        ConfigurationError: A scheme is not installed, or cannot be read without another.
        CouldNotCheckError: The plugin of a scheme is broken.
    """
    from deepsigns_registry.watermark.schemes import known_schemes, named_schemes
    from deepsigns_registry.watermark.whitebox import WhiteBox

    if model.schemes is None:
        return None
    known = known_schemes()
    missing = [name for name in model.schemes if name not in known]
    if missing:
        raise ConfigurationError(
            f"no watermark scheme named '{missing[0]}'",
            advice=f"install its plugin, or choose among: {', '.join(known)}",
        )
    chosen = named_schemes(model.schemes)
    hidden = [scheme.name for scheme in chosen if scheme.needs_activation]
    if hidden and WhiteBox.name not in hidden:
        raise ConfigurationError(
            f"scheme '{hidden[0]}' reads a tap that only scheme '{WhiteBox.name}' can verify",
            advice=f"add '{WhiteBox.name}' to schemes",
        )
    return chosen


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
