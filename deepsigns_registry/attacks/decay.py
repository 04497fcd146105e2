"""Strong weight decay, then training without it."""

from dataclasses import replace

from deepsigns_registry.attacks.attack import parse_number
from deepsigns_registry.attacks.lessons import Lesson, TrainingAttack, Victim
from deepsigns_registry.attacks.losses import task_goal
from deepsigns_registry.attacks.training import Training
from deepsigns_registry.errors import ConfigurationError

__all__ = ["Decay"]

_ADVICE = "write the weight decay, above 0 and at most 1000, such as decay:6"
_MOST = 1000.0


class Decay(TrainingAttack):
    """AdamW with a strong weight decay, then Adam without any; the strength is the decay.

    Every step takes (decay x step size) of each weight away, and the task's gradient brings back
    what the task needs: what else the weights hold goes. At 1e-3 and batch 128, an epoch on
    60,000 samples with a decay of 6 leaves 6% of a weight that no gradient renews.

    Args:
        decaying: Passes over the data with weight decay.
        epochs: Passes afterwards, without.
        learning_rate: The step size of both.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> Decay().parse("6")
        6.0
    """

    name = "decay"

    def __init__(
        self,
        *,
        decaying: int = 1,
        epochs: int = 5,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        self._decaying = decaying
        self._epochs = epochs
        self._training = Training(learning_rate, batch_size, mixed_precision)

    def parse(self, strength: str) -> float:
        """Reads a weight decay in (0, 1000].

        Raises:
            ConfigurationError: It is no such number.
        """
        decay = parse_number(self.name, strength, _ADVICE)
        if not 0 < decay <= _MOST:
            raise ConfigurationError(
                f"attack {self.name}: strength {strength} is not between 0 and {_MOST:g}",
                advice=_ADVICE,
            )
        return decay

    def _lessons(self, victim: Victim, strength: float) -> list[Lesson]:
        goal = task_goal(victim.model, victim.data, victim.device, attack=self.name, smoothing=0.0)
        decaying = replace(self._training, weight_decay=strength)
        return [
            Lesson(decaying, goal, self._decaying, victim.parameters),
            Lesson(self._training, goal, self._epochs, victim.parameters),
        ]
