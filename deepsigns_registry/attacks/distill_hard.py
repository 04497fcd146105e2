"""Distillation from labels alone: a fresh model learns the classes that the stolen one answers."""

from deepsigns_registry.attacks.distill import Distill
from deepsigns_registry.attacks.lessons import Victim
from deepsigns_registry.attacks.losses import Goal, answers_goal

__all__ = ["DistillHard"]


class DistillHard(Distill):
    """Training of a student on the teacher's classes, as one has to who sees no scores.

    The student has the same architecture, every parameter of it drawn anew. The strength is the
    number of epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> DistillHard().parse("20")
        20.0
    """

    name = "distill_hard"

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate, batch_size=batch_size, mixed_precision=mixed_precision
        )

    def _goal(self, victim: Victim) -> Goal:
        return answers_goal(victim.model, victim.data, victim.device, attack=self.name)
