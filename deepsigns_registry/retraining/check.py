"""Whether and how a version would be marked; nothing is trained, and the version stays as it is.

`deepsigns check` runs it for a person who has the model, the data and the settings; the worker
goes the same way before it marks anything. The candidates for the tap are counted and measured,
not named; the reason of a refusal may name a layer.
"""

import secrets
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import DataError, DeepSignsError, UnmarkableError
from deepsigns_registry.retraining.effort import Effort, measured_effort
from deepsigns_registry.retraining.options import mark_settings, tap_choices, training_device
from deepsigns_registry.retraining.source import load_program
from deepsigns_registry.retraining.unmarked import Unmarked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.export import ExportedProgram

    from deepsigns_registry.engine.jobs import JobProgress
    from deepsigns_registry.retraining.fitness import Judgement

__all__ = ["Examination", "Refusal", "TensorForm", "examine_version"]

_FLAVOUR = "pytorch (pt2)"
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
        stealth: Whether the mark would be hidden, and weaker.
        refusal: Why it would not be marked; None when it would.
        flavour: How its PyTorch program is stored.
        inputs: What it takes.
        outputs: What it gives.
        parameters: Number of its trainable values.
        candidates: Width of each hidden activation that could hold the mark, in the order in
            which they are tried.
        schemes: What would be embedded.
        judgement: What was found in the owner's data.
        effort: Steps, time and memory of the fine-tuning on this device.
        seconds: Estimate of a whole marking that needs one round: what the examination took,
            once before the fine-tuning and once after it, as the files are written and read.
    """

    model: str
    task: str
    stealth: bool = False
    refusal: Refusal | None = None
    flavour: str = ""
    inputs: TensorForm | None = None
    outputs: TensorForm | None = None
    parameters: int = 0
    candidates: tuple[int, ...] = ()
    schemes: tuple[str, ...] = ()
    judgement: "Judgement | None" = None
    effort: Effort | None = None
    seconds: float | None = None

    def refused(self, error: DeepSignsError) -> Self:
        """The same with the reason why nothing comes of it."""
        return replace(self, refusal=Refusal(error.code, error.message, error.advice))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "model": self.model,
            "task": self.task,
            "stealth": self.stealth,
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
            "seconds": self.seconds,
        }


def examine_version(
    *,
    progress: "JobProgress",
    source: Path,
    config: Path | Settings,
    model: str,
    metrics: "Mapping[str, float]",
) -> Examination:
    """Examines a version's folder as the worker would; a job for `engine`.

    Args:
        progress: Told how far it is.
        source: Folder of the version.
        config: The settings, or their file.
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
    started = time.monotonic()
    section = load_settings(config).model(model)
    found = Examination(model=model, task=section.task, stealth=section.stealth)
    progress(0.0, "loading the model")
    try:
        program = load_program(source)
        found = _described(program, replace(found, flavour=_FLAVOUR))
        widths = tuple(choice.neurons for choice in tap_choices(program, section))
        found = replace(found, candidates=widths)
        progress(0.2, "loading the data")
        unmarked = Unmarked.with_data(program, config, model)
        progress(0.3, "judging the data")
        judgement = unmarked.judged(source, metrics)
        found = replace(found, judgement=judgement)
        judgement.require()
        progress(0.6, "measuring a few steps")
        options, device = mark_settings(section), training_device()
        effort = measured_effort(unmarked.tapped(), unmarked.data, options, device)
        found = replace(found, effort=effort)
        progress(0.8, "deriving a secret that is thrown away")
        found = replace(found, schemes=_fitting_schemes(unmarked))
        around = 2 * (time.monotonic() - started)
        return replace(found, seconds=round(effort.seconds + around, 1))
    except (DataError, UnmarkableError) as error:
        return found.refused(error)


def _described(program: "ExportedProgram", blank: Examination) -> Examination:
    """The interface of a program, and its size."""
    signature = program.graph_signature
    return replace(
        blank,
        inputs=_form(program, signature.user_inputs),
        outputs=_form(program, signature.user_outputs),
        parameters=sum(weight.numel() for weight in program.parameters()),
    )


def _form(program: "ExportedProgram", names: "tuple[str, ...] | list[str]") -> TensorForm | None:
    """The form of the one tensor of these names; None for none or several."""
    nodes = {node.name: node for node in program.graph.nodes}
    values = [nodes[name].meta.get("val") for name in names if name in nodes]
    if len(values) != 1 or not hasattr(values[0], "shape"):
        return None
    shape = tuple(length if isinstance(length, int) else None for length in values[0].shape[1:])
    return TensorForm(shape, str(values[0].dtype).removeprefix("torch."))


def _fitting_schemes(unmarked: Unmarked) -> tuple[str, ...]:
    """What could be embedded: a secret is derived as for a marking, and forgotten."""
    root, owner = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_KEY_BYTES)
    with tempfile.TemporaryDirectory(prefix="deepsigns-check-") as scratch:
        record = unmarked.secret(root, owner, scratch=Path(scratch))
    return tuple(sorted(record.secrets))
