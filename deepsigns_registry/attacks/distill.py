"""Distillation: a fresh model learns from the stolen one's answers."""

from deepsigns_registry.attacks.fresh import draw_anew, reset_statistics
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.lessons import Lesson, TrainingAttack, Victim
from deepsigns_registry.attacks.losses import Goal, distillation_goal
from deepsigns_registry.attacks.strength import parse_epochs
from deepsigns_registry.attacks.training import Training
from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["Distill"]


class Distill(TrainingAttack):
    """Training of a student of the same architecture, every parameter of which is drawn anew.

    The student sees the teacher's softened answers to the thief's samples and no label (Hinton
    et al. 2015). The strength is the number of epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.
        temperature: Divides the logits of teacher and student, at least 1.

    Examples:
        >>> Distill().parse("20")
        20.0
    """

    name = "distill"

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
        temperature: float = 4.0,
    ) -> None:
        self._training = Training(learning_rate, batch_size, mixed_precision)
        self._temperature = temperature

    def parse(self, strength: str) -> float:
        """Reads a number of epochs.

        Raises:
            ConfigurationError: It is no whole number from 1 to 1000.
        """
        return parse_epochs(self.name, strength)

    def _lessons(self, victim: Victim, strength: float) -> list[Lesson]:
        goal = self._goal(victim)
        layers = Layers(victim.model, victim.examples())
        if not layers.whole:
            raise CouldNotCheckError(
                f"attack {self.name}: some weights are not in float and cannot be drawn anew",
                advice="attack the file from before quantisation",
            )
        draw_anew(victim.parameters, layers, seed=victim.seed)
        reset_statistics(layers)
        return [Lesson(self._training, goal, int(strength), victim.parameters)]

    def _goal(self, victim: Victim) -> Goal:
        """The teacher's answers; asked before the copy is drawn anew."""
        return distillation_goal(
            victim.model,
            victim.data,
            victim.device,
            attack=self.name,
            temperature=self._temperature,
        )
