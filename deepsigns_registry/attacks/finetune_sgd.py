"""Fine-tuning by plain stochastic gradient descent."""

from dataclasses import replace

from deepsigns_registry.attacks.finetune import Finetune

__all__ = ["FinetuneSgd"]


class FinetuneSgd(Finetune):
    """Training of every layer by stochastic gradient descent at 0.05; the strength is epochs.

    Args:
        learning_rate: The step size.
        momentum: Share of the last step that each step goes on with, in [0, 1).
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> FinetuneSgd().parse("30")
        30.0
    """

    name = "finetune_sgd"

    def __init__(
        self,
        *,
        learning_rate: float = 0.05,
        momentum: float = 0.0,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate, batch_size=batch_size, mixed_precision=mixed_precision
        )
        self._training = replace(self._training, optimizer="sgd", momentum=momentum)
