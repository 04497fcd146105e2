"""The retraining stage: what the training child does beside a model it does not trust.

It holds the watermark secret in memory and no signing key. What it returns is checked again by
the worker, from the exported files, before anything is signed.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.errors import CheckpointError, CouldNotCheckError
from deepsigns_registry.registry.figures import STEALTH
from deepsigns_registry.retraining.checkpoints import Checkpoints
from deepsigns_registry.retraining.data import data_digest
from deepsigns_registry.retraining.names import MarkingNames
from deepsigns_registry.retraining.options import (
    device_name,
    goal_of,
    mark_settings,
    training_device,
)
from deepsigns_registry.retraining.source import load_program
from deepsigns_registry.retraining.unmarked import EXAMPLE_ROWS, Unmarked

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from deepsigns_registry.config import Settings
    from deepsigns_registry.engine.jobs import JobProgress
    from deepsigns_registry.retraining.fitness import Judgement
    from deepsigns_registry.sections import ModelSettings
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
    from deepsigns_registry.watermark.fidelity import Cost
    from deepsigns_registry.watermark.record import WatermarkRecord

__all__ = [
    "MARKED_ONNX",
    "MARKED_PROGRAM",
    "Prepared",
    "Ran",
    "StageResult",
    "mark_model",
    "prepare_mark",
    "run_program",
]

MARKED_PROGRAM = "model.pt2"
MARKED_ONNX = "model.onnx"
_COMPARED = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Prepared:
    """What is known before any training.

    Attributes:
        data: Digest of the owner's data; see `data.data_digest`.
        judgement: Whether the data is this model's.
        record: The serialised watermark record, secret; empty when the data does not fit, or a
            record of this data is kept already.
        choices: How many hidden activations could carry the mark.
    """

    data: str
    judgement: "Judgement"
    record: bytes = b""
    choices: int = 1


@dataclass(frozen=True)
class StageResult:
    """What the training child returns beside the files.

    Attributes:
        cost: What the mark costs on the validation samples.
        device: Where the stage ran.
        samples: float32 [n, ...], some validation samples, by which the files are compared where
            no scheme asks for answers.
    """

    cost: "Cost"
    device: str
    samples: "NDArray[np.float32]"


@dataclass(frozen=True)
class Ran:
    """What a program gave.

    Attributes:
        outputs: float32 [n, classes].
        rounding: Largest relative step between two numbers of the program's own type.
    """

    outputs: "NDArray[np.float32]"
    rounding: float


def prepare_mark(
    *,
    progress: "JobProgress",
    kept: dict[str, Unmarked] | None = None,
    source: Path,
    config: "Path | Settings",
    model: str,
    root: bytes,
    owner: bytes,
    scratch: Path,
    metrics: Mapping[str, float] | None = None,
    names: MarkingNames | None = None,
) -> Prepared:
    """Judges the data and derives the secret of one mark, before any training; a job for `engine`.

    The unmarked parent is exported first: what cannot be exported is refused at once, and the
    record is complete before training starts, as the marked file will have the same graph.

    Args:
        progress: Told how far it is.
        kept: Where the loaded model and data are left for the next job of one marking.
        source: Folder of the unmarked version.
        config: The settings, or their file.
        model: Name of the registered model.
        root: The root key, 32 bytes.
        owner: The owner's identity, 32 bytes.
        scratch: Existing folder for the parent's export.
        metrics: What was logged with the version.
        names: Which markings are kept, so that no other record is derived, and which were given
            up, each at a hidden activation that is not tried again.

    Returns:
        What is known; with a judgement that refuses the data there is no record.

    Raises:
        ConfigurationError: The settings name a scheme that is not installed.
        CouldNotCheckError: The plugin of a scheme is broken.
        DataError: The owner's data cannot be used.
        UnmarkableError: The model cannot carry the mark.
    """
    progress(0.0, "loading the model and the data")
    unmarked = _opened({} if kept is None else kept, source, config, model)
    choices = unmarked.choices
    digest = data_digest(unmarked.data)
    progress(0.1, "judging the data")
    judgement = unmarked.judged(source, metrics or {})
    known = Prepared(digest, judgement, choices=len(choices))
    if judgement.refusal or (names and names.keeps(digest)):
        return known
    record = unmarked.secret(
        root,
        owner,
        scratch=scratch,
        after=names.skips(digest) if names else 0,
        progress=lambda fraction, message: progress(0.3 + 0.6 * fraction, message),
    )
    return replace(known, record=record.to_bytes())


def mark_model(
    *,
    progress: "JobProgress",
    kept: dict[str, Unmarked] | None = None,
    source: Path,
    config: "Path | Settings",
    model: str,
    record: bytes,
    checkpoints: Path,
    marking: str,
    out: Path,
    tries: int = 1,
) -> StageResult:
    """Embeds a prepared mark; a job for `engine`.

    It goes on after the last state that an earlier process kept.

    Args:
        progress: Told how far the stage is, and what the mark is like so far.
        kept: What `prepare_mark` left there is not loaded again: a loader need not give the same
            data twice.
        source: Folder of the unmarked version.
        config: The settings, or their file.
        model: Name of the registered model.
        record: From `prepare_mark`.
        checkpoints: Folder of unfinished trainings.
        marking: Name of the marking.
        out: Existing folder for the marked program and ONNX file.
        tries: By what p-values are multiplied.

    Raises:
        NotConvergedError: The mark is too weak, or costs too much, after all rounds.
        RefusedError: The model learned something that is no mark.
        UnmarkableError: Training diverged, or the marked model cannot be exported.
        CouldNotCheckError: The marked file is built differently from the parent's.
    """
    import torch

    from deepsigns_registry.graph.export import export_onnx
    from deepsigns_registry.watermark.converge import converge
    from deepsigns_registry.watermark.fidelity import mark_cost
    from deepsigns_registry.watermark.record import WatermarkRecord
    from deepsigns_registry.watermark.tapped import run_batched

    secret = WatermarkRecord.from_bytes(record)
    device = training_device()
    progress(0.0, "loading the model and the data")
    unmarked = _opened({} if kept is None else kept, source, config, model)
    section, data = unmarked.section, unmarked.data
    fresh = partial(_parent, unmarked, secret)
    tapped = fresh()
    parent_outputs, _ = run_batched(tapped, data.validation.inputs, device)
    saved = Checkpoints(checkpoints, marking, secret.root.secret)
    train = partial(
        converge,
        data=data,
        record=secret,
        settings=mark_settings(section),
        goal=goal_of(section),
        fresh=fresh,
        device=device,
        tries=tries,
        progress=lambda fraction, message, figures: progress(
            0.05 + 0.85 * fraction, message, _told(figures, section)
        ),
        checkpoint=saved.save,
    )
    try:
        train(tapped, resume=saved.load())
    except CheckpointError as error:
        _log.warning("%s: %s; training starts from the beginning", marking, error.message)
        saved.discard()
        tapped = fresh()
        train(tapped)
    progress(0.92, "exporting")
    written = tapped.to("cpu").write_back()
    torch.export.save(written, out / MARKED_PROGRAM)
    # What is given out is what the program's own type makes of the weights.
    tapped = type(tapped)(written, tapped.tap, task=section.task)
    tap = export_onnx(tapped, data.validation.inputs[:EXAMPLE_ROWS], out / MARKED_ONNX)
    if tap != secret.tap:
        raise CouldNotCheckError("the marked model was exported as another graph than its parent")
    marked_outputs, _ = run_batched(tapped, data.validation.inputs, device)
    return StageResult(
        cost=mark_cost(parent_outputs, marked_outputs, data.validation),
        device=device_name(device),
        samples=data.validation.inputs[:_COMPARED],
    )


def _told(figures: "Mapping[str, float]", section: "ModelSettings") -> dict[str, float] | None:
    """The figures, and whether they are those of a weaker mark that is hidden."""
    if not figures:
        return None
    return {STEALTH: 1.0, **figures} if section.stealth else dict(figures)


def _opened(
    kept: dict[str, Unmarked], source: Path, config: "Path | Settings", model: str
) -> Unmarked:
    name = "\n".join(map(str, (source, config, model)))
    if name not in kept:
        kept[name] = Unmarked.opened(source, config, model)
    return kept[name]


def _parent(unmarked: Unmarked, record: "WatermarkRecord") -> "ExportedTappedModel":
    """The parent, tapped where a record was prepared."""
    for choice in unmarked.choices:
        tapped = unmarked.tapped(choice)
        if _is_tap_of(tapped, record, training_device()):
            return tapped
    raise CouldNotCheckError(
        "the record was prepared at a layer that this model does not have",
        advice="let the mark be prepared again",
    )


def _is_tap_of(
    tapped: "ExportedTappedModel", record: "WatermarkRecord", device: "torch.device"
) -> bool:
    """Whether a model gives at its tap what the record says that the parent gives."""
    import numpy as np

    from deepsigns_registry.watermark.tapped import run_batched

    whitebox = record.secrets.get("whitebox")
    if whitebox is None or "activations" not in whitebox.arrays:
        return True
    known = whitebox.arrays["activations"].astype(np.float32, copy=False)
    triggers = whitebox.arrays["triggers"].astype(np.float32, copy=False)
    _, found = run_batched(tapped, triggers, device)
    return found.shape == known.shape and np.allclose(found, known, rtol=1e-3, atol=1e-3)


def run_program(*, progress: "JobProgress", folder: Path, inputs: "NDArray[np.float32]") -> Ran:
    """Runs the program of a finished version's folder, as it is served; a job for `engine`.

    Args:
        progress: Told that it runs.
        folder: The finished version.
        inputs: float32 [n, ...].
    """
    from deepsigns_registry.watermark.adapters.exported import rounding, run_registered

    progress(0.0, "reading the marked program")
    program = load_program(folder)
    outputs = run_registered(program, inputs)
    return Ran(outputs.reshape(len(inputs), -1), rounding(program))
