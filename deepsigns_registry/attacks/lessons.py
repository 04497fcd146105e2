"""What every attack that trains does alike: it copies, prepares, and trains, once or more."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.losses import Goal
from deepsigns_registry.attacks.training import Change, Training, as_tensor, trainable
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Lesson", "TrainingAttack", "Victim", "part_of"]

_EXAMPLES = 16


@dataclass(frozen=True)
class Victim:
    """What a thief starts from.

    Attributes:
        model: A copy of the stolen model, in evaluation; may be changed.
        parameters: All of its parameters that can be trained.
        data: What the thief has to train on.
        seed: Of everything random.
    """

    model: TappedModel
    parameters: list[nn.Parameter]
    data: LabelledData
    seed: int

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.parameters[0].device

    def examples(self) -> Tensor:
        """A few samples, to look at the model's layers with: float32 [at most 16, ...]."""
        return as_tensor(self.data.inputs[:_EXAMPLES], np.float32).to(self.device)


@dataclass(frozen=True)
class Lesson:
    """One part of a training.

    Attributes:
        training: How.
        goal: What towards.
        epochs: Passes over the thief's samples.
        parameters: What is trained; everything else stays.
        after_step: Called after each step.
        changed: Gives what is learned in place of a batch and its targets.
        before: Called before the first step.
    """

    training: Training
    goal: Goal
    epochs: int
    parameters: list[nn.Parameter]
    after_step: Callable[[], None] | None = None
    changed: Change | None = None
    before: Callable[[], None] | None = None


class TrainingAttack(ABC):
    """An attack that ends in training a copy of the model, on the device where it is."""

    name: str

    @abstractmethod
    def parse(self, strength: str) -> float:
        """Reads a strength; see `Attack.parse`."""

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Changes and trains a copy; see `Attack.apply`.

        Raises:
            DataError: There is no data, or a label does not fit the model's outputs.
            CouldNotCheckError: The model has nothing to train or not what the attack needs, or
                the loss is no longer finite.
        """
        attacked = copy.deepcopy(model).eval()
        victim = Victim(attacked, trainable(attacked, self.name), data, seed)
        lessons = self._lessons(victim, strength)
        total = sum(lesson.epochs for lesson in lessons)
        done = 0
        for lesson in lessons:
            if lesson.before is not None:
                lesson.before()
            lesson.training.run(
                attacked,
                lesson.parameters,
                data.inputs,
                lesson.goal.targets,
                lesson.goal.loss,
                epochs=lesson.epochs,
                seed=seed,
                attack=self.name,
                progress=part_of(progress, done / total, lesson.epochs / total),
                after_step=lesson.after_step,
                changed=lesson.changed,
            )
            done += lesson.epochs
        return attacked

    @abstractmethod
    def _lessons(self, victim: Victim, strength: float) -> list[Lesson]:
        """Changes the copy as far as the attack does before it trains, and gives the training."""


def part_of(progress: Progress | None, before: float, share: float) -> Progress | None:
    """The progress of one part of the whole.

    Args:
        progress: Of the whole.
        before: Share of it that is done before this part.
        share: Of the whole that this part is.

    Examples:
        >>> second_half = part_of(lambda share, words: print(share, words), 0.5, 0.5)
        >>> second_half(0.5, "epoch 1")
        0.75 epoch 1
    """
    if progress is None:
        return None

    def report(part: float, words: str) -> None:
        # Rounding must not say more than everything.
        progress(min(1.0, before + share * part), words)

    return report
