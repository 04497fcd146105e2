"""Fine-tuning at a tenth of the learning rate: gentle, for thieves who must keep accuracy."""

from deepsigns_registry.attacks.finetune import Finetune

__all__ = ["FinetuneSlow"]


class FinetuneSlow(Finetune):
    """Training of every layer with Adam at 1e-4; the strength is the number of epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> FinetuneSlow().parse("50")
        50.0
    """

    name = "finetune_slow"

    def __init__(
        self,
        *,
        learning_rate: float = 1e-4,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate, batch_size=batch_size, mixed_precision=mixed_precision
        )
