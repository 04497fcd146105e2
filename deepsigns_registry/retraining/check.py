"""Whether and how a version would be marked; nothing is trained, and the version stays as it is.

`deepsigns check` runs it for a person, and the worker before it marks anything. What it tells may
be read by everybody who may run it: the candidates for the tap are counted and measured, and
never named.
"""

import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from deepsigns_registry.config import ModelSettings, load_settings
from deepsigns_registry.errors import (
    DataError,
    DeepSignsError,
    UnmarkableError,
)
from deepsigns_registry.retraining.data import load_training_data
from deepsigns_registry.retraining.effort import Effort, measured_effort
from deepsigns_registry.retraining.options import (
    chosen_schemes,
    mark_settings,
    tap_choices,
    training_device,
)
from deepsigns_registry.retraining.source import load_program, output_width

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch.export import ExportedProgram

    from deepsigns_registry.engine.jobs import JobProgress
    from deepsigns_registry.retraining.fitness import Described, Judgement
    from deepsigns_registry.watermark.data import TrainingData

__all__ = ["Examination", "Refusal", "TensorForm", "examine", "examine_version"]

_KEY_BYTES = 32


class TensorForm(NamedTuple):
    """One tensor that goes into a model or comes out of it.

    Attributes:
        shape: Without the batch; None for a length that is free.
        dtype: Such as `float32`.
    """

    shape: tuple[int | None, ...]
    dtype: str


class Refusal(NamedTuple):
    """Why a version would not be marked.

    Attributes:
        code: Of the error, such as `unmarkable` or `data`.
        message: What stands in the way.
        advice: What to do about it; may be empty.
    """

    code: str
    message: str
    advice: str


@dataclass(frozen=True)
class Examination:
    """Whether and how a version would be marked; what was not reached is empty.

    Attributes:
        model: Name of its `[models.<name>]` section.
        task: What it is trained for, by the settings.
        refusal: Why it would not be marked; None when it would.
        flavour: How its PyTorch program is stored.
        inputs: What it takes.
        outputs: What it gives.
        parameters: Number of its trainable values.
        candidates: Width of each hidden activation that could hold the mark, in the order in
            which they are tried.
        schemes: What would be embedded.
        judgement: What was found in the owner's data.
        effort: Steps, time and memory of a marking on this device.
    """

    model: str
    task: str
    refusal: Refusal | None = None
    flavour: str = ""
    inputs: TensorForm | None = None
    outputs: TensorForm | None = None
    parameters: int = 0
    candidates: tuple[int, ...] = ()
    schemes: tuple[str, ...] = ()
    judgement: "Judgement | None" = None
    effort: Effort | None = None

    def refused(self, error: DeepSignsError) -> Self:
        """The same with the reason why nothing comes of it."""
        return replace(self, refusal=Refusal(error.code, error.message, error.advice))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "model": self.model,
            "task": self.task,
            "markable": self.refusal is None,
            "refusal": self.refusal._asdict() if self.refusal else None,
            "flavour": self.flavour,
            "inputs": self.inputs._asdict() if self.inputs else None,
            "outputs": self.outputs._asdict() if self.outputs else None,
            "parameters": self.parameters,
            "candidates": list(self.candidates),
            "schemes": list(self.schemes),
            "judgement": self.judgement.to_json() if self.judgement else None,
            "effort": asdict(self.effort) if self.effort else None,
        }


def examine_version(
    *,
    progress: "JobProgress",
    source: Path,
    config: Path,
    model: str,
    metrics: "Mapping[str, float]",
) -> Examination:
    """Examines a version's folder as the worker would; a job for `engine`.

    Args:
        progress: Told how far it is.
        source: Folder of the version.
        config: The settings file.
        model: Name of the registered model.
        metrics: What was logged with the version; may be empty.

    Returns:
        The examination; a version that cannot be marked, or data that does not fit it, is an
        answer and no error.

    Raises:
        ConfigurationError: There is no such section, a scheme is not installed, or the data's
            module or file does not exist.
        CouldNotCheckError: A file of the version is damaged.
    """
    from deepsigns_registry.retraining.fitness import Described

    settings = load_settings(config)
    section = settings.model(model)
    blank = Examination(model=model, task=section.task)
    progress(0.0, "loading the model")
    try:
        program = load_program(source)
        found = _described(program, section, replace(blank, flavour="pytorch (pt2)"))
    except UnmarkableError as error:
        return blank.refused(error)
    if found.refusal:
        return found
    progress(0.2, "loading the data")
    try:
        data = load_training_data(settings, model, classes=output_width(program, section.task))
    except (DataError, UnmarkableError) as error:
        return found.refused(error)
    progress(0.3, "judging the data")
    device = training_device()
    described = Described.of(source, metrics)
    found = replace(
        examine(program, data, section, described, device), model=model, flavour=found.flavour
    )
    if found.refusal:
        return found
    progress(0.8, "deriving a secret that is thrown away")
    try:
        return replace(found, schemes=_fitting_schemes(program, data, section, device))
    except (DataError, UnmarkableError) as error:
        return found.refused(error)


def examine(
    program: "ExportedProgram",
    data: "TrainingData",
    settings: ModelSettings,
    described: "Described",
    device: "torch.device",
) -> Examination:
    """Examines a model and the owner's data; the model is run, and a copy of it takes steps.

    Args:
        program: The unmarked parent.
        data: The owner's data.
        settings: Of the model's section.
        described: What the version says of itself.
        device: Where it would be marked.

    Returns:
        The examination, without the name of a section and without schemes.
    """
    from deepsigns_registry.retraining.fitness import judge_data
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel

    found = _described(program, settings, Examination(model="", task=settings.task))
    if found.refusal:
        return found
    options = mark_settings(settings)
    try:
        tapped = ExportedTappedModel(
            program, tap_choices(program, settings)[0].tap, task=settings.task
        )
        judgement = judge_data(tapped.to(device), data, described, device=device, options=options)
        found = replace(found, judgement=judgement)
        judgement.require()
        return replace(found, effort=measured_effort(tapped, data, options, device))
    except (DataError, UnmarkableError) as error:
        return found.refused(error)


def _described(
    program: "ExportedProgram", settings: ModelSettings, blank: Examination
) -> Examination:
    """The interface of a program and its candidates, or why there are none."""
    signature = program.graph_signature
    found = replace(
        blank,
        inputs=_form(program, signature.user_inputs),
        outputs=_form(program, signature.user_outputs),
        parameters=sum(weight.numel() for weight in program.parameters()),
    )
    try:
        widths = tuple(choice.neurons for choice in tap_choices(program, settings))
    except UnmarkableError as error:
        return found.refused(error)
    return replace(found, candidates=widths)


def _form(program: "ExportedProgram", names: "tuple[str, ...] | list[str]") -> TensorForm | None:
    """The form of the one tensor of these names; None for none or several."""
    nodes = {node.name: node for node in program.graph.nodes}
    values = [nodes[name].meta.get("val") for name in names if name in nodes]
    if len(values) != 1 or not hasattr(values[0], "shape"):
        return None
    shape = tuple(length if isinstance(length, int) else None for length in values[0].shape[1:])
    return TensorForm(shape, str(values[0].dtype).removeprefix("torch."))


def _fitting_schemes(
    program: "ExportedProgram",
    data: "TrainingData",
    settings: ModelSettings,
    device: "torch.device",
) -> tuple[str, ...]:
    """What could be embedded: a secret is derived as for a marking, and forgotten."""
    from deepsigns_registry.watermark.adapters.exported import ExportedTappedModel
    from deepsigns_registry.watermark.key import RootKey
    from deepsigns_registry.watermark.prepare import prepare_record

    tapped = ExportedTappedModel(
        program, tap_choices(program, settings)[0].tap, task=settings.task
    ).to(device)
    root = RootKey(secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_KEY_BYTES))
    schemes = chosen_schemes(settings)
    options = mark_settings(settings)
    record = prepare_record(tapped, data, root, options, device=device, schemes=schemes)
    return tuple(sorted(record.secrets))
