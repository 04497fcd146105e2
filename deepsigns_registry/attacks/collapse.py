"""Weight decay, then training in which classes differ in what the outputs need and nowhere else."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.attacks.attack import Progress, parse_number
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.lessons import part_of
from deepsigns_registry.attacks.losses import Goal, require_classes, task_goal
from deepsigns_registry.attacks.retap import retapped
from deepsigns_registry.attacks.training import Training, as_tensor, trainable
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, UnmarkableError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, run_batched

__all__ = ["Collapse"]

_ADVICE = "write the weight of what is collapsed, above 0 and at most 1000, such as collapse:1"
_MOST = 1000.0
_EXAMPLES = 16
_FITTED_SAMPLES = 5000
_TINY = 1e-12


class Collapse:
    """What a thief does who knows that class means of a hidden layer carry bits, and not which.

    The activations that `layer = "auto"` chooses are split into the directions that the outputs
    follow from (the rows of the last layer, or by least squares) and all others. Strong weight
    decay comes first; then a loss pulls the class means together in the others. The strength is
    the weight of that loss, which is 1 where classes differ as much as samples do.

    Args:
        decay: Weight decay of the first part.
        decaying: Passes over the data with it.
        epochs: Passes afterwards.
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> Collapse().parse("1")
        1.0
    """

    name = "collapse"

    def __init__(
        self,
        *,
        decay: float = 6.0,
        decaying: int = 1,
        epochs: int = 5,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        self._decaying, self._epochs = decaying, epochs
        self._training = Training(learning_rate, batch_size, mixed_precision)
        self._decayed = Training(learning_rate, batch_size, mixed_precision, weight_decay=decay)

    def parse(self, strength: str) -> float:
        """Reads a weight in (0, 1000].

        Raises:
            ConfigurationError: It is no such number.
        """
        weight = parse_number(self.name, strength, _ADVICE)
        if not 0 < weight <= _MOST:
            raise ConfigurationError(
                f"attack {self.name}: strength {strength} is not between 0 and {_MOST:g}",
                advice=_ADVICE,
            )
        return weight

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Trains a copy; see `Attack.apply`.

        Raises:
            DataError: There is no data, or a label does not fit the model's outputs.
            CouldNotCheckError: The labels are no classes, the model has no hidden layer or nothing
                to train, or the loss is no longer finite.
        """
        require_classes(data, self.name)
        attacked = copy.deepcopy(model).eval()
        parameters = trainable(attacked, self.name)
        device = parameters[0].device
        goal = task_goal(attacked, data, device, attack=self.name, smoothing=0.0)
        decayed = self._decaying / (self._decaying + self._epochs)
        self._decayed.run(
            attacked,
            parameters,
            data.inputs,
            goal.targets,
            goal.loss,
            epochs=self._decaying,
            seed=seed,
            attack=self.name,
            progress=part_of(progress, 0.0, decayed),
        )
        examples = as_tensor(data.inputs[:_EXAMPLES], np.float32).to(device)
        try:
            with retapped(attacked, examples, self.name) as view:
                both = _Both(view)
                self._training.run(
                    both,
                    trainable(both, self.name),
                    data.inputs,
                    goal.targets,
                    _collapsing(view, data, goal, strength),
                    epochs=self._epochs,
                    seed=seed,
                    attack=self.name,
                    progress=part_of(progress, decayed, 1 - decayed),
                )
        except UnmarkableError as error:
            raise CouldNotCheckError(
                f"attack {self.name}: {error.message}", advice=error.advice
            ) from error
        return attacked.eval()


class _Both(TappedModel):
    """A model whose outputs are followed by its activation at the tap."""

    def __init__(self, model: TappedModel) -> None:
        super().__init__()
        self.tap = model.tap
        self.model = model

    def forward(self, inputs: Tensor) -> Tapped:
        """Outputs and activation side by side, float [batch, outputs + neurons]."""
        tapped: Tapped = self.model(inputs)
        joined = torch.cat([tapped.outputs.flatten(1), tapped.activation.flatten(1)], dim=1)
        return Tapped(joined, tapped.activation)


def _collapsing(
    model: TappedModel, data: LabelledData, goal: Goal, weight: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """The task's loss, and how far class means differ where the outputs do not need it."""
    device = goal.targets.device
    outputs, activation = run_batched(model, data.inputs[:_FITTED_SAMPLES], device)
    outputs = outputs.reshape(len(outputs), -1)
    width, classes = outputs.shape[1], int(goal.targets.max()) + 1
    centred = activation - activation.mean(axis=0)
    fitted = np.linalg.lstsq(centred, outputs - outputs.mean(axis=0), rcond=None)[0]
    examples = as_tensor(data.inputs[:_EXAMPLES], np.float32).to(device)
    weights = _output_weight(model, examples, torch.Size(fitted.shape))
    needed = as_tensor(fitted, np.float32).to(device) if weights is None else weights
    spread = float(np.square(centred).sum(axis=1).mean()) + _TINY

    def loss(both: Tensor, labels: Tensor) -> Tensor:
        hidden = both[:, width:]
        members = functional.one_hot(labels, classes).to(hidden.dtype)
        counts = members.sum(dim=0)
        means = (members.T @ hidden) / counts.clamp(min=1)[:, None] - hidden.mean(dim=0)
        basis = torch.linalg.qr(needed.float()).Q
        apart = (means - means @ basis @ basis.T).square().sum(dim=1)
        collapsed = (apart * counts).sum() / counts.sum() / spread
        total: Tensor = goal.loss(both[:, :width], labels) + weight * collapsed
        return total

    return loss


def _output_weight(model: TappedModel, examples: Tensor, shape: torch.Size) -> Tensor | None:
    """The weight that turns the activation into the outputs, [neurons, outputs].

    None where another layer does, or several do.
    """
    for weight in Layers(model, examples).layers[0].parameters:
        # Views, which show what training makes of it.
        if weight.shape == shape:
            return weight.detach()
        if weight.shape == shape[::-1]:
            return weight.detach().T
    return None
