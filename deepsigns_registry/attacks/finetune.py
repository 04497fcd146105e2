"""Fine-tuning: the thief goes on training with data of their own."""

import copy

import numpy as np
from torch import Tensor, nn

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.losses import task_goal
from deepsigns_registry.attacks.strength import parse_epochs
from deepsigns_registry.attacks.training import Training, as_tensor, trainable
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Finetune"]

_EXAMPLES = 16


class Finetune:
    """Training of every layer with Adam; the strength is the number of epochs.

    An embedding model, whose own loss nobody outside knows, is trained to give what it gives.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.
        smoothing: Share of each label that is spread over all classes, in [0, 1).

    Examples:
        >>> Finetune().parse("3")
        3.0
    """

    name = "finetune"

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
        smoothing: float = 0.0,
    ) -> None:
        self._training = Training(learning_rate, batch_size, mixed_precision)
        self._smoothing = smoothing

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
        """Trains a copy, on the device where the model is; see `Attack.apply`.

        Raises:
            DataError: There is no data, or a label does not fit the model's outputs.
            CouldNotCheckError: The model has nothing to train, or its loss is no longer finite.
        """
        attacked = copy.deepcopy(model).eval()
        parameters = trainable(attacked, self.name)
        device = parameters[0].device
        goal = task_goal(attacked, data, device, attack=self.name, smoothing=self._smoothing)
        examples = as_tensor(data.inputs[:_EXAMPLES], np.float32).to(device)
        self._training.run(
            attacked,
            self._prepared(attacked, parameters, examples, seed),
            data.inputs,
            goal.targets,
            goal.loss,
            epochs=int(strength),
            seed=seed,
            attack=self.name,
            progress=progress,
        )
        return attacked

    def _prepared(
        self,
        attacked: TappedModel,  # noqa: ARG002 - other ways to fine-tune look at it
        parameters: list[nn.Parameter],
        examples: Tensor,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> list[nn.Parameter]:
        """Changes the copy before the training; gives the parameters to train."""
        return parameters
