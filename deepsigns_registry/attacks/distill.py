"""Distillation: a fresh model learns from the stolen one's answers."""

import copy

import numpy as np

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.fresh import draw_anew, reset_statistics
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.losses import distillation_goal
from deepsigns_registry.attacks.strength import parse_epochs
from deepsigns_registry.attacks.training import Training, as_tensor, trainable
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Distill"]

_EXAMPLES = 16


class Distill:
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

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Trains a student on the device where the model is; see `Attack.apply`.

        Raises:
            DataError: There is no data.
            CouldNotCheckError: The model has weights that cannot be drawn anew, or the loss is
                no longer finite.
        """
        student = copy.deepcopy(model).eval()
        parameters = trainable(student, self.name)
        device = parameters[0].device
        goal = distillation_goal(
            student, data, device, attack=self.name, temperature=self._temperature
        )
        layers = Layers(student, as_tensor(data.inputs[:_EXAMPLES], np.float32).to(device))
        if not layers.whole:
            raise CouldNotCheckError(
                f"attack {self.name}: some weights are not in float and cannot be drawn anew",
                advice="attack the file from before quantisation",
            )
        draw_anew(parameters, layers, seed=seed)
        reset_statistics(layers)
        self._training.run(
            student,
            parameters,
            data.inputs,
            goal.targets,
            goal.loss,
            epochs=int(strength),
            seed=seed,
            attack=self.name,
            progress=progress,
        )
        return student
