"""Fine-tuning after the output layer was drawn anew."""

from torch import nn

from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.finetune_last import last_parameters
from deepsigns_registry.attacks.fresh import draw_anew
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.lessons import Victim

__all__ = ["FinetuneReset"]


class FinetuneReset(Finetune):
    """A new output layer, then training of every layer with Adam; the strength is epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> FinetuneReset().parse("3")
        3.0
    """

    name = "finetune_reset"

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

    def _prepared(self, victim: Victim) -> list[nn.Parameter]:
        layers = Layers(victim.model, victim.examples())
        draw_anew(last_parameters(layers, victim.parameters, self.name), layers, seed=victim.seed)
        return victim.parameters
