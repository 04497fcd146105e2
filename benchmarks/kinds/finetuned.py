"""The thief's fine-tuning, read while it goes on."""

import copy
from dataclasses import dataclass

from benchmarks.kind import READING, Kind
from benchmarks.measurement import Measurement
from benchmarks.readings import read
from benchmarks.units import Unit
from benchmarks.workshop import Workshop
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.suspect import TappedSuspect

__all__ = ["FINETUNED", "FINETUNINGS", "Finetuning"]


@dataclass(frozen=True)
class Finetuning:
    """How the thief fine-tunes.

    Attributes:
        name: In results.
        part: `full`: the owner's own training set; `half`: the half that the owner never saw.
        learning_rate: Adam's, constant.
        after: Epochs after which the marks are read; the last ends the training.
        mixed_precision: Whether products are computed in bfloat16.
    """

    name: str
    part: str
    learning_rate: float
    after: tuple[int, ...]
    mixed_precision: bool = True


FINETUNINGS = {
    found.name: found
    for found in (
        Finetuning("fine-tuning 1e-3, full set", "full", 1e-3, (1, 2, 5, 10)),
        Finetuning("fine-tuning 1e-3, other half", "half", 1e-3, (1, 2, 5, 10)),
        Finetuning("fine-tuning 1e-4, full set", "full", 1e-4, (10, 50)),
        Finetuning("fine-tuning 1e-4, other half", "half", 1e-4, (10, 50)),
        Finetuning("fine-tuning 1e-3, full set, float32", "full", 1e-3, (10,), False),
    )
}


def _do(workshop: Workshop, unit: Unit) -> list[Measurement]:
    from deepsigns_registry.attacks.losses import task_goal
    from deepsigns_registry.attacks.training import Training, trainable

    (marked,) = unit.needs
    how = FINETUNINGS[unit.setting]
    record, model = workshop.record(marked), workshop.stolen(workshop.load(marked))
    data = workshop.thief_data(how.part, unit.seed)
    validation = workshop.data.validation
    goal = task_goal(model, data, workshop.device, attack="finetune", smoothing=0.0)
    wanted = {named: workshop.scale.epochs(named) for named in how.after}
    found: list[Measurement] = []
    done = 0

    def after_epoch(_share: float, _words: str) -> None:
        nonlocal done
        done += 1
        due = [named for named, epochs in wanted.items() if epochs == done]
        if not due:
            return
        # Reading sets a model to evaluation; the training goes on with the original.
        now = copy.deepcopy(model).eval()
        reached = accuracy(now, validation, workshop.device)
        reading = read(record, TappedSuspect(now, workshop.device))
        for named in due:
            setting = f"{how.name}, {named} epoch{'s' * (named > 1)}"
            found.append(Measurement("robustness", unit.model, "", setting, "accuracy", reached))
            found.extend(reading.measurements("robustness", unit.model, setting))

    Training(how.learning_rate, mixed_precision=how.mixed_precision).run(
        model,
        trainable(model, "finetune"),
        data.inputs,
        goal.targets,
        goal.loss,
        epochs=max(wanted.values()),
        seed=unit.seed,
        attack="finetune",
        progress=after_epoch,
    )
    return found


FINETUNED = Kind(
    _do,
    code=(
        *READING,
        "benchmarks.kinds.finetuned",
        "deepsigns_registry.attacks.losses",
        "deepsigns_registry.attacks.training",
    ),
    packages=("onnx",),
)
