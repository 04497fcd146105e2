"""Fine-tuning of the output layer alone."""

from dataclasses import replace

from torch import nn

from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.lessons import Victim
from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["FinetuneLast", "last_parameters"]


class FinetuneLast(Finetune):
    """Training of the output layer, everything before it frozen; the strength is epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> FinetuneLast().parse("3")
        3.0
    """

    name = "finetune_last"

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
        self._training = replace(self._training, evaluating=True)

    def _prepared(self, victim: Victim) -> list[nn.Parameter]:
        layers = Layers(victim.model, victim.examples())
        return last_parameters(layers, victim.parameters, self.name)


def last_parameters(
    layers: Layers, parameters: list[nn.Parameter], attack: str
) -> list[nn.Parameter]:
    """The parameters of the last layer, among those that can be trained.

    Raises:
        CouldNotCheckError: The model's last layers hold no float weight.
    """
    last = {id(parameter) for parameter in layers.last}
    chosen = [parameter for parameter in parameters if id(parameter) in last]
    if not chosen:
        raise CouldNotCheckError(
            f"attack {attack}: the model has no output layer with float weights",
            advice="attack the file from before quantisation",
        )
    return chosen
