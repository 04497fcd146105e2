"""Drawing the last layers anew, then training."""

from deepsigns_registry.attacks.fresh import draw_anew
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.lessons import Lesson, TrainingAttack, Victim
from deepsigns_registry.attacks.losses import task_goal
from deepsigns_registry.attacks.strength import parse_count
from deepsigns_registry.attacks.training import Training
from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["Redraw"]

_MOST_LAYERS = 1000


class Redraw(TrainingAttack):
    """New weights for the last layers, then training of all; the strength is how many layers.

    What stands behind these layers (biases, normalisation) starts anew with them. A hidden
    layer's mark sits in the layer before the last, so that two layers take its weights away; what
    the layers before them still give is all that the training starts from.

    Args:
        epochs: Passes over the data afterwards.
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> Redraw().parse("2")
        2.0
    """

    name = "redraw"

    def __init__(
        self,
        *,
        epochs: int = 6,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        self._epochs = epochs
        self._training = Training(learning_rate, batch_size, mixed_precision)

    def parse(self, strength: str) -> float:
        """Reads a number of layers.

        Raises:
            ConfigurationError: It is no whole number from 1 to 1000.
        """
        return parse_count(self.name, strength, "layers", _MOST_LAYERS)

    def _lessons(self, victim: Victim, strength: float) -> list[Lesson]:
        goal = task_goal(victim.model, victim.data, victim.device, attack=self.name, smoothing=0.0)
        layers, count = Layers(victim.model, victim.examples()), int(strength)
        if count > len(layers.layers):
            raise CouldNotCheckError(
                f"attack {self.name}: {count} layers to draw anew, and the model has "
                f"{len(layers.layers)} with float weights",
                advice="draw fewer layers anew",
            )
        draw_anew(layers.ending(count), layers, seed=victim.seed)
        return [Lesson(self._training, goal, self._epochs, victim.parameters)]
