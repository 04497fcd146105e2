"""Label-smoothed retraining."""

from deepsigns_registry.attacks.finetune import Finetune

__all__ = ["Smooth"]


class Smooth(Finetune):
    """Training of every layer towards smoothed labels with Adam; the strength is epochs.

    Smoothing draws the activations of each class together (Mueller et al. 2019, section 2),
    where the mark of a hidden layer sits. Of 208 matching queries on scikit-learn's digits, ten
    epochs left 135, 123, 116 and 103 at a smoothing of 0.1, 0.2, 0.3 and 0.5; only the last cost
    accuracy.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.
        smoothing: Share of each label that is spread over all classes, in (0, 1).

    Examples:
        >>> Smooth().parse("3")
        3.0
    """

    name = "smooth"

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
        smoothing: float = 0.3,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            batch_size=batch_size,
            mixed_precision=mixed_precision,
            smoothing=smoothing,
        )
