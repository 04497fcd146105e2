"""Extraction, then a decision boundary of the thief's own."""

import torch
from torch import Tensor
from torch.nn import functional

from deepsigns_registry.attacks.distill import Distill
from deepsigns_registry.attacks.finetune_last import last_parameters
from deepsigns_registry.attacks.fresh import draw_anew
from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.attacks.lessons import Lesson, Victim
from deepsigns_registry.attacks.losses import require_classes, task_goal
from deepsigns_registry.attacks.training import Change

__all__ = ["Reconstruct", "with_mixtures"]

# Of the first of two samples in a mixture. One that is nearly pure says nothing of a boundary.
_LEAST_SHARE, _LARGEST_SHARE = 0.5, 0.8


class Reconstruct(Distill):
    """Distillation, then training of the student on what lies between the classes.

    What a student inherits of a mark is where its boundary lies. So the thief draws that anew,
    after the removal that follows an extraction in "Class-feature watermark" (Xiao et al., AAAI
    2026): the output layer is drawn at random, and beside each batch with its true labels,
    mixtures of two samples of different classes are learned with as much of either label.

    Measured on a perceptron of 12,000 samples of Fashion-MNIST, whose student held an adjusted
    log10 p of -180: -42 by the true labels alone, -26 with each mixture under its likelier label,
    -15 with shares of both, and -1 with the output layer drawn anew as well.

    The strength is the number of epochs of the second part.

    Args:
        extraction: Passes over the data in which the student learns the teacher's answers.
        redraw: Whether the output layer is drawn anew.
        learning_rate: Adam's step size.
        batch_size: Samples a step, and as many mixtures at most beside them.
        mixed_precision: Whether products are computed in bfloat16.
        temperature: Divides the logits of teacher and student, at least 1.

    Examples:
        >>> Reconstruct().parse("5")
        5.0
    """

    name = "reconstruct"

    def __init__(
        self,
        *,
        extraction: int = 10,
        redraw: bool = True,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        mixed_precision: bool = False,
        temperature: float = 4.0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            batch_size=batch_size,
            mixed_precision=mixed_precision,
            temperature=temperature,
        )
        self._extraction = extraction
        self._redraw = redraw

    def _lessons(self, victim: Victim, strength: float) -> list[Lesson]:
        require_classes(victim.data, self.name)
        own = task_goal(victim.model, victim.data, victim.device, attack=self.name, smoothing=0.0)
        layers = Layers(victim.model, victim.examples())
        output = last_parameters(layers, victim.parameters, self.name) if self._redraw else []
        classes = victim.model(victim.examples()).outputs.shape[1]
        reconstruction = Lesson(
            self._training,
            own._replace(targets=functional.one_hot(own.targets, classes).float()),
            int(strength),
            victim.parameters,
            changed=with_mixtures(victim.seed),
            before=lambda: draw_anew(output, layers, seed=victim.seed),
        )
        return [*super()._lessons(victim, self._extraction), reconstruction]


def with_mixtures(seed: int) -> Change:
    """Adds to a batch mixtures of its samples, each with another one of another class.

    Args:
        seed: Decides who is mixed with whom, and how much; the device does not.

    Returns:
        From inputs [batch, ...] and float targets [batch, classes] to the same and at most as
        many mixtures behind them, their targets mixed alike (Zhang et al., "mixup", 2018).

    Examples:
        >>> mixed = with_mixtures(seed=0)
        >>> inputs, targets = mixed(torch.rand(8, 3), torch.eye(8))
        >>> len(inputs) > 8, len(inputs) == len(targets)
        (True, True)
    """
    generator = torch.Generator().manual_seed(seed)

    def changed(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        partner = torch.randperm(len(inputs), generator=generator).to(inputs.device)
        drawn = torch.rand(len(inputs), generator=generator).to(inputs.device)
        shares = _LEAST_SHARE + (_LARGEST_SHARE - _LEAST_SHARE) * drawn
        differ = (targets != targets[partner]).any(dim=1)
        pairs = torch.arange(len(inputs), device=inputs.device)[differ], partner[differ]
        return (
            torch.cat([inputs, _mixed(inputs, *pairs, shares[differ])]),
            torch.cat([targets, _mixed(targets, *pairs, shares[differ])]),
        )

    return changed


def _mixed(values: Tensor, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    share = shares.reshape(-1, *(1 for _ in values.shape[1:]))
    return share * values[first] + (1 - share) * values[second]
