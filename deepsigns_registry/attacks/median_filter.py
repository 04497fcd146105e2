"""A median filter before the first layer, then training."""

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.preprocess import Steps, preprocessed
from deepsigns_registry.attacks.strength import parse_epochs
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["MedianFilter"]


class MedianFilter:
    """Every image is smoothed by its 3 x 3 medians, and the model trained on what is left.

    Takes away what single pixels of a secret query say. The filter is a part of the file,
    whatever was given; the strength is the number of epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> MedianFilter().parse("2")
        2.0
    """

    name = "filter"

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        self._finetune = Finetune(
            learning_rate=learning_rate, batch_size=batch_size, mixed_precision=mixed_precision
        )

    def parse(self, strength: str) -> float:
        """Reads a number of epochs.

        Raises:
            ConfigurationError: It is no whole number from 1 to 1000.
        """
        return parse_epochs(self.name, strength)

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Filters before a copy and trains it; see `Attack.apply`.

        Raises:
            DataError: There is no data, or a label does not fit the model's outputs.
            CouldNotCheckError: The inputs are no images, the model cannot be exported or has
                nothing to train, or its loss is no longer finite.
        """

        def plan(steps: Steps, images: str, size: tuple[int, int]) -> str:
            return steps.median(images, *size)

        filtered = preprocessed(model, data, plan, attack=self.name)
        return self._finetune.apply(filtered, strength, data, seed=seed, progress=progress)
