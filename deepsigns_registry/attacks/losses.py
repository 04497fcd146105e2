"""What the thief trains towards: the task's own loss, or a teacher's answers."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.attacks.training import as_tensor
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel, run_batched
from deepsigns_registry.watermark.targets import task_loss, task_targets
from deepsigns_registry.watermark.task import are_probabilities

__all__ = ["Goal", "answers_goal", "distillation_goal", "require_classes", "task_goal"]

_EXAMPLES = 16


class Goal(NamedTuple):
    """What outputs are trained towards.

    Attributes:
        targets: One row a sample.
        loss: From a batch of outputs [batch, outputs] and its rows of the targets to a scalar.
    """

    targets: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]


def task_goal(
    model: TappedModel, data: LabelledData, device: torch.device, *, attack: str, smoothing: float
) -> Goal:
    """The loss of the model's own task, on the thief's labels.

    Args:
        model: The victim; a classifier may give logits or probabilities.
        data: The thief's data.
        device: Where the model is.
        attack: Name of the attack, for errors.
        smoothing: Share of each label that is spread evenly over all classes (Szegedy et al.
            2016, section 7), in [0, 1).

    Raises:
        DataError: There is no data, or a label does not fit the model's outputs.
        CouldNotCheckError: Smoothing was asked for, and the labels are no classes.
    """
    outputs = _examined(model, data, device, attack)
    task = data.task
    if task != "classification":
        if smoothing:
            require_classes(data, attack)
        targets = task_targets(model, data, device)
        if targets.values.shape[1] != outputs[0].numel():
            raise DataError(
                f"attack {attack}: {targets.values.shape[1]} targets a sample for a model of "
                f"{outputs[0].numel()} outputs",
                advice="give one number for each output",
            )
        spread = targets.spread
        return Goal(
            as_tensor(targets.values, np.float32),
            lambda outputs, wanted: task_loss(outputs, wanted, task, spread),
        )
    _check_classes(data, outputs, attack)
    probable = _gives_probabilities(outputs)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        logits = _logits(outputs, probabilities=probable)
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)

    return Goal(as_tensor(data.labels, np.int64), loss)


def distillation_goal(
    teacher: TappedModel,
    data: LabelledData,
    device: torch.device,
    *,
    attack: str,
    temperature: float,
) -> Goal:
    """A teacher's answers to the thief's samples, labels unseen (Hinton et al. 2015, section 2).

    Cross-entropy of softened probabilities for a classifier, times the squared temperature;
    the squared error relative to the spread of the answers for other tasks.

    Args:
        teacher: The victim.
        data: The thief's data; of its labels only the kind is looked at.
        device: Where the teacher is.
        attack: Name of the attack, for errors.
        temperature: Divides the logits of both, at least 1.

    Raises:
        DataError: There is no data.
    """
    outputs = _examined(teacher, data, device, attack)
    if data.task != "classification":
        answers = task_targets(teacher, LabelledData.without_labels(data.inputs), device)
        return Goal(
            as_tensor(answers.values, np.float32),
            lambda outputs, wanted: task_loss(outputs, wanted, "embedding", answers.spread),
        )
    probable = _gives_probabilities(outputs)
    given = torch.from_numpy(run_batched(teacher, data.inputs, device)[0])
    soft = (_logits(given, probabilities=probable) / temperature).softmax(dim=1)

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        logits = _logits(outputs, probabilities=probable) / temperature
        return functional.cross_entropy(logits, wanted) * temperature**2

    return Goal(soft, loss)


def answers_goal(
    teacher: TappedModel, data: LabelledData, device: torch.device, *, attack: str
) -> Goal:
    """The classes that a teacher answers, and nothing else of what it gives.

    Args:
        teacher: The victim.
        data: The thief's data; of its labels only the kind is looked at.
        device: Where the teacher is.
        attack: Name of the attack, for errors.

    Raises:
        DataError: There is no data.
        CouldNotCheckError: The labels are no classes.
    """
    _examined(teacher, data, device, attack)
    require_classes(data, attack)
    answers = run_batched(teacher, data.inputs, device)[0].argmax(axis=1)
    answered = LabelledData(data.inputs, answers)
    return task_goal(teacher, answered, device, attack=attack, smoothing=0.0)


def require_classes(data: LabelledData, attack: str) -> None:
    """Refuses data of which the labels are no classes.

    Args:
        data: The thief's data.
        attack: Name of the attack, for the error.

    Raises:
        CouldNotCheckError: It is for another task.
    """
    if data.task != "classification":
        raise CouldNotCheckError(
            f"attack {attack}: needs classes, and these labels are for {data.task}",
            advice="leave this attack out for this deployment",
        )


def _examined(model: TappedModel, data: LabelledData, device: torch.device, attack: str) -> Tensor:
    """The model's outputs for a few samples."""
    if len(data) == 0 or len(data.inputs) != len(data.labels):
        raise DataError(
            f"attack {attack}: {len(data.inputs)} samples with {len(data)} labels",
            advice="give the attack training data, one label for each sample",
        )
    model.eval()
    with torch.no_grad():
        outputs: Tensor = model(as_tensor(data.inputs[:_EXAMPLES], np.float32).to(device)).outputs
    return outputs


def _check_classes(data: LabelledData, outputs: Tensor, attack: str) -> None:
    classes = outputs.shape[1]
    outside = np.flatnonzero((data.labels < 0) | (data.labels >= classes))
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"attack {attack}: label {int(data.labels[first])} of sample {first} is outside the "
            f"{classes} classes",
            advice=f"use labels 0 to {classes - 1}",
        )


def _gives_probabilities(outputs: Tensor) -> bool:
    return are_probabilities(outputs.detach().float().cpu().numpy())


def _logits(outputs: Tensor, *, probabilities: bool) -> Tensor:
    # The logarithm of probabilities is a set of logits of theirs.
    return outputs.clamp(min=1e-30).log() if probabilities else outputs
