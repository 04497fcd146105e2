"""Fine-tuning: the thief goes on training with data of their own."""

from torch import nn

from deepsigns_registry.attacks.lessons import Lesson, TrainingAttack, Victim
from deepsigns_registry.attacks.losses import task_goal
from deepsigns_registry.attacks.strength import parse_epochs
from deepsigns_registry.attacks.training import Training

__all__ = ["Finetune"]


class Finetune(TrainingAttack):
    """Training of every layer with Adam; the strength is the number of epochs.

    An embedding model, whose own loss nobody outside knows, is trained to give what it gives.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.
        smoothing: Share of each label that is spread over all classes, in [0, 1).

    Examples:
        >>> Finetune().parse("3")
        3.0
    """

    name = "finetune"

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
        smoothing: float = 0.0,
    ) -> None:
        self._training = Training(learning_rate, batch_size, mixed_precision)
        self._smoothing = smoothing

    def parse(self, strength: str) -> float:
        """Reads a number of epochs.

        Raises:
            ConfigurationError: It is no whole number from 1 to 1000.
        """
        return parse_epochs(self.name, strength)

    def _lessons(self, victim: Victim, strength: float) -> list[Lesson]:
        goal = task_goal(
            victim.model,
            victim.data,
            victim.device,
            attack=self.name,
            smoothing=self._smoothing,
        )
        return [Lesson(self._training, goal, int(strength), self._prepared(victim))]

    def _prepared(self, victim: Victim) -> list[nn.Parameter]:
        """Changes the copy before the training; gives the parameters to train."""
        return victim.parameters
