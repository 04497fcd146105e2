"""Fine-pruning: the least active neurons are cut off, then the rest is trained."""

import numpy as np
import torch
from torch import Tensor, nn

from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.lessons import Lesson, TrainingAttack, Victim
from deepsigns_registry.attacks.losses import task_goal
from deepsigns_registry.attacks.strength import parse_share
from deepsigns_registry.attacks.training import Training, as_tensor
from deepsigns_registry.errors import CouldNotCheckError

__all__ = ["FinePrune"]

_EXAMPLES = 512


class FinePrune(TrainingAttack):
    """Activation-based pruning of neurons, then fine-tuning without them (Liu et al. 2018).

    The strength is the share of the neurons that each layer reads from other layers which is
    cut off: those with the smallest mean activation on the thief's data. The paper prunes the
    last convolution alone; here every hidden layer loses its share, and what was cut off stays
    so in the fine-tuning.

    Args:
        epochs: Passes over the data after the pruning.
        learning_rate: Adam's step size.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.

    Examples:
        >>> FinePrune().parse("0.3")
        0.3
    """

    name = "fine_prune"

    def __init__(
        self,
        *,
        epochs: int = 3,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
    ) -> None:
        self._epochs = epochs
        self._training = Training(learning_rate, batch_size, mixed_precision)

    def parse(self, strength: str) -> float:
        """Reads a share in (0, 1).

        Raises:
            ConfigurationError: It is no such number.
        """
        return parse_share(self.name, strength, "the neurons of each hidden layer")

    def _lessons(self, victim: Victim, strength: float) -> list[Lesson]:
        data = victim.data
        goal = task_goal(victim.model, data, victim.device, attack=self.name, smoothing=0.0)
        # Any samples would do if the data came in no order.
        rows = np.random.default_rng(victim.seed).permutation(len(data.inputs))[:_EXAMPLES]
        examples = as_tensor(data.inputs[np.sort(rows)], np.float32).to(victim.device)
        masks = _masks(Layers(victim.model, examples), strength)
        if not masks:
            raise CouldNotCheckError(
                f"attack {self.name}: the model has no hidden layer that float weights read",
                advice="attack the file from before quantisation",
            )

        def cut() -> None:
            with torch.no_grad():
                for weight, mask in masks:
                    weight.mul_(mask)

        cut()
        return [Lesson(self._training, goal, self._epochs, victim.parameters, after_step=cut)]


def _masks(layers: Layers, share: float) -> list[tuple[nn.Parameter, Tensor]]:
    found = []
    for layer in layers.layers:
        if layer.hidden and layer.activity is not None:
            order = layer.activity.argsort(stable=True)
            silenced = layer.silencing(order[: int(share * len(order))])
            if silenced is not None:
                found.append(silenced)
    return found
