"""Merging: the mean of the stolen model's weights and those of copies that were trained on."""

import copy
from collections.abc import Sequence

import torch

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.finetune import Finetune
from deepsigns_registry.attacks.strength import parse_count
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Merge", "mean_of"]

_MOST_COPIES = 16


class Merge:
    """The mean of the model and of fine-tuned copies of it; the strength is how many copies.

    Each copy is trained with another order of the samples, so that what they have in common
    stays and what each holds alone fades (Wortsman et al., "Model soups", 2022).

    Args:
        epochs: Passes over the data of each copy.
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> Merge().parse("3")
        3.0
    """

    name = "merge"

    def __init__(
        self,
        *,
        epochs: int = 3,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        self._epochs = epochs
        self._finetune = Finetune(
            learning_rate=learning_rate, batch_size=batch_size, mixed_precision=mixed_precision
        )

    def parse(self, strength: str) -> float:
        """Reads a number of copies.

        Raises:
            ConfigurationError: It is no whole number from 1 to 16.
        """
        return parse_count(self.name, strength, "copies", _MOST_COPIES)

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Trains copies and gives their mean; see `Attack.apply`.

        Raises:
            DataError: There is no data, or a label does not fit the model's outputs.
            CouldNotCheckError: The model has nothing to train, or its loss is no longer finite.
        """
        models, count = [model], int(strength)
        for number in range(count):
            models.append(
                self._finetune.apply(model, self._epochs, data, seed=seed * _MOST_COPIES + number)
            )
            if progress is not None:
                progress((number + 1) / count, f"{number + 1} of {count} copies")
        return mean_of(models)


def mean_of(models: Sequence[TappedModel]) -> TappedModel:
    """A model with the mean of all weights and running statistics.

    Args:
        models: One or more of the same architecture and adapter; not changed. What is not in
            float is the first one's.

    Raises:
        CouldNotCheckError: They are not of the same architecture.
    """
    merged = copy.deepcopy(models[0]).eval()
    states = [model.state_dict() for model in models]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise CouldNotCheckError(
            "attack merge: the models are not of one architecture",
            advice="merge a model with others that were trained from the same code",
        )
    with torch.no_grad():
        for name, value in merged.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    return merged
