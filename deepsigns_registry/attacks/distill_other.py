"""Distillation into another architecture."""

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.lessons import Victim
from deepsigns_registry.attacks.losses import distillation_goal
from deepsigns_registry.attacks.strength import parse_epochs
from deepsigns_registry.attacks.structure import as_file
from deepsigns_registry.attacks.student import student_of
from deepsigns_registry.attacks.training import Training, trainable
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["DistillOther"]


class DistillOther:
    """Training of a small network of another kind on the teacher's softened answers.

    The student convolves where the teacher does not and the other way round; see `student`. No
    layer of it is one of the teacher's, so it is a file without the tap, whatever was given. The
    strength is the number of epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.
        temperature: Divides the logits of teacher and student, at least 1.

    Examples:
        >>> DistillOther().parse("20")
        20.0
    """

    name = "distill_other"

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
    ) -> OnnxTappedModel:
        """Trains a student on the device where the model is; see `Attack.apply`.

        Raises:
            DataError: There is no data.
            CouldNotCheckError: The model has no float weights, or the loss is no longer finite.
        """
        teacher = Victim(model, trainable(model, self.name), data, seed)
        goal = distillation_goal(
            model, data, teacher.device, attack=self.name, temperature=self._temperature
        )
        student = student_of(teacher)
        self._training.run(
            student,
            list(student.parameters()),
            data.inputs,
            goal.targets,
            goal.loss,
            epochs=int(strength),
            seed=seed,
            attack=self.name,
            progress=progress,
        )
        file = as_file(student.to("cpu"), data, self.name)
        return OnnxTappedModel.from_proto(file.write_back()).eval()
