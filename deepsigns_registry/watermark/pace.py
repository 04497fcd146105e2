"""How fast a fine-tuning learns, and how long it takes."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from deepsigns_registry.watermark.objective import Objective
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["Clock", "optimizer_for", "schedule_for", "steps_an_epoch"]

# What an interruption costs at most, against what writing the state of a large model costs.
_SECONDS_BETWEEN_CHECKPOINTS = 120.0
_SECONDS_BETWEEN_LOOKS = 10.0
_FUSED_DEVICES = {"cpu", "cuda"}


def steps_an_epoch(settings: MarkSettings, samples: int) -> int:
    """Steps that a fine-tuning calls an epoch: one pass, or more of them over a small data set.

    Args:
        settings: Of the fine-tuning.
        samples: Of the training data.

    Examples:
        >>> [steps_an_epoch(MarkSettings(epochs=1), samples) for samples in (64_000, 640)]
        [1000, 900]
    """
    return max(
        math.ceil(samples / settings.batch_size),
        math.ceil(settings.minimum_steps / settings.epochs),
    )


def optimizer_for(
    weights: Sequence[Tensor], objectives: Sequence[Objective], rate: float
) -> torch.optim.Optimizer:
    """Adam for a model's weights and for what the objectives train themselves.

    Args:
        weights: Of the model.
        objectives: Of the schemes.
        rate: Peak learning rate of the weights.

    Examples:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer_for([weight], [], 0.0015).param_groups[0]["lr"]
        0.0015
    """
    groups = [{"params": weights, "lr": rate}]
    own = [parameter for objective in objectives for parameter in objective.parameters()]
    if own:
        # The centres start where the parent is and must not lag behind the activations.
        groups.append({"params": own, "lr": 10 * rate})
    trained = [*weights, *own]
    plain = all(part.device.type in _FUSED_DEVICES and part.is_floating_point() for part in trained)
    return torch.optim.Adam(groups, fused=plain)


def schedule_for(
    optimizer: torch.optim.Optimizer, steps: int, warm_up: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """A linear rise, then a cosine to zero.

    Adam's first steps are of full length whatever the gradient, and the marks' gradients are the
    largest then: without the rise they cost accuracy that the rest of the run does not win back.

    Examples:
        >>> optimizer = optimizer_for([torch.nn.Parameter(torch.ones(2))], [], 1.0)
        >>> schedule_for(optimizer, steps=100, warm_up=0.1).get_last_lr()
        [0.1]
    """
    rising = int(warm_up * steps)

    def rate(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


class Clock:
    """Says when whoever waits is to be told something, and when a run's state is to be kept."""

    def __init__(self) -> None:
        self._written = self._looked = time.monotonic()

    def look_due(self) -> bool:
        """Whether somebody who waits would like to know how it goes."""
        return time.monotonic() - self._looked >= _SECONDS_BETWEEN_LOOKS

    def looked(self) -> None:
        """Counts from here."""
        self._looked = time.monotonic()

    def checkpoint_due(self) -> bool:
        """Whether an interruption now would cost too much."""
        return time.monotonic() - self._written >= _SECONDS_BETWEEN_CHECKPOINTS

    def checkpoint_written(self) -> None:
        """Counts from here."""
        self._written = time.monotonic()
