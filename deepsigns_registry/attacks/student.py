"""A student of another architecture than its teacher's."""

from torch import nn

from deepsigns_registry.attacks.lessons import Victim
from deepsigns_registry.attacks.training import randomness
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["student_of"]

# Two poolings halve each side twice.
_LEAST_SIDE = 4


def student_of(teacher: Victim) -> TappedModel:
    """Draws a small network that answers in the teacher's form.

    A teacher that convolves gets a perceptron as its student, one that does not gets two
    convolutions where its inputs are images, and a perceptron of other widths where they are not.

    Args:
        teacher: The stolen model and the thief's data; the seed draws the student.

    Returns:
        The student, on the teacher's device, ready to be trained; tapped before its last layer.
    """
    examples = teacher.examples()
    outputs = teacher.model(examples).outputs[0].numel()
    shape = tuple(int(extent) for extent in examples.shape[1:])
    convolves = any(parameter.ndim > 2 for parameter in teacher.parameters)
    is_image = len(shape) == 3 and min(shape[1:]) >= _LEAST_SIDE
    with randomness(teacher.seed, teacher.device):
        module = (
            _convolving(shape, outputs)
            if is_image and not convolves
            else _dense(examples[0].numel(), outputs)
        )
    tap = str(len(module) - 2)
    return EagerTappedModel(module.to(teacher.device), tap, task=teacher.data.task).eval()


def _convolving(shape: tuple[int, ...], outputs: int) -> nn.Sequential:
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), 128),
        nn.ReLU(),
        nn.Linear(128, outputs),
    )


def _dense(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, outputs),
    )
