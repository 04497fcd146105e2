"""The thief's training loop, one for every attack that trains."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.batches import RESIDENT_BYTES
from deepsigns_registry.watermark.precision import lay_out, layout_for
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Change", "Training", "as_tensor", "randomness", "trainable"]

Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From a batch and its targets to what is learned in their place."""


@dataclass(frozen=True)
class Training:
    """How the thief trains.

    Attributes:
        learning_rate: The step size; it stays the same throughout.
        batch_size: Samples a step.
        mixed_precision: Whether products are computed in bfloat16.
        evaluating: Whether dropout and batch statistics stay as in evaluation, so that nothing
            but the trained parameters changes.
        weight_decay: Each step takes this share of the step size away from every trained
            parameter, beside the gradient (Loshchilov and Hutter 2019), at least 0.
        optimizer: Adam, or plain stochastic gradient descent.
        momentum: Of stochastic gradient descent, in [0, 1).
    """

    learning_rate: float = 1e-3
    batch_size: int = 128
    mixed_precision: bool = False
    evaluating: bool = False
    weight_decay: float = 0.0
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.0

    def run(
        self,
        model: TappedModel,
        parameters: list[nn.Parameter],
        inputs: NDArray[np.float32],
        targets: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        epochs: int,
        seed: int,
        attack: str,
        progress: Progress | None = None,
        after_step: Callable[[], None] | None = None,
        changed: Change | None = None,
    ) -> None:
        """Trains some parameters of a model in place, on the device where they are.

        Args:
            model: The model; in evaluation mode afterwards.
            parameters: What to train; everything else stays.
            inputs: float32 [samples, ...].
            targets: One row a sample.
            loss: From outputs and rows of the targets to a scalar.
            epochs: Passes over the samples.
            seed: Order of the samples, and dropout.
            attack: Name of the attack, for errors.
            progress: Told after each epoch.
            after_step: Called after each step.
            changed: Gives what is learned in place of a batch and its targets.

        Raises:
            CouldNotCheckError: The loss is no longer finite.
        """
        device = parameters[0].device
        batches = _Batches(inputs, targets, device, self.batch_size, seed=seed, changed=changed)
        optimizer = self._optimizer(parameters)
        with _only(model, parameters), _laid_out(model, batches), randomness(seed, device):
            model.train(not self.evaluating)
            for epoch in range(epochs):
                mean = self._epoch(model, optimizer, batches, loss, after_step)
                if not math.isfinite(mean):
                    raise CouldNotCheckError(
                        f"attack {attack}: the loss is {mean} in epoch {epoch + 1}",
                        advice="look for NaN in the training data, or use a smaller learning rate",
                    )
                if progress is not None:
                    progress((epoch + 1) / epochs, f"epoch {epoch + 1}, loss {mean:.4f}")
        model.eval()

    def _optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum)
        fused = parameters[0].device.type in {"cpu", "cuda"} and all(
            parameter.is_floating_point() for parameter in parameters
        )
        if self.weight_decay:
            return torch.optim.AdamW(
                parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=fused
            )
        return torch.optim.Adam(parameters, lr=self.learning_rate, fused=fused)

    def _epoch(
        self,
        model: TappedModel,
        optimizer: torch.optim.Optimizer,
        batches: "_Batches",
        loss: Callable[[Tensor, Tensor], Tensor],
        after_step: Callable[[], None] | None,
    ) -> float:
        device = batches.device
        # Summed on the device: asking for the value of each step would wait for it.
        total, steps = torch.zeros((), device=device), 0
        for inputs, targets in batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.mixed_precision):
                outputs = model(inputs).outputs
            value = loss(outputs.float(), targets)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            optimizer.step()
            if after_step is not None:
                after_step()
            total += value.detach()
            steps += 1
        return float(total) / steps


def trainable(model: TappedModel, attack: str) -> list[nn.Parameter]:
    """The parameters of a model that can be trained.

    Raises:
        CouldNotCheckError: There are none.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise CouldNotCheckError(
            f"attack {attack}: the model has no float weights to train",
            advice="attack the file from before quantisation",
        )
    return parameters


def as_tensor(values: NDArray[np.generic], kind: DTypeLike) -> Tensor:
    """An array as a tensor; shares memory where it may be written to.

    Examples:
        >>> as_tensor(np.array([1, 2]), np.float32)
        tensor([1., 2.])
    """
    return torch.from_numpy(np.require(values, kind, ["C", "W"]))


@contextmanager
def randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's own generators, and gives the caller's state back.

    Examples:
        >>> with randomness(1, torch.device("cpu")):
        ...     first = torch.rand(3)
        >>> with randomness(1, torch.device("cpu")):
        ...     torch.equal(first, torch.rand(3))
        True
    """
    accelerators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=accelerators):
        torch.manual_seed(seed)
        yield


@contextmanager
def _only(model: TappedModel, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Freezes every other parameter, so that no gradient is computed for it."""
    wanted = {id(parameter) for parameter in parameters}
    frozen = [
        other for other in model.parameters() if other.requires_grad and id(other) not in wanted
    ]
    for other in frozen:
        other.requires_grad_(False)
    try:
        yield
    finally:
        for other in frozen:
            other.requires_grad_(True)


@contextmanager
def _laid_out(model: TappedModel, batches: "_Batches") -> Iterator[None]:
    """Images with their channels last, which convolutions prefer: a fifth faster on a processor."""
    model.eval()
    batches.layout = layout_for(model, batches.example())
    lay_out(model, batches.layout)
    try:
        yield
    finally:
        lay_out(model, torch.contiguous_format)


def _unchanged(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return inputs, targets


class _Batches:
    """Every sample once, in another order each time it is iterated over."""

    def __init__(
        self,
        inputs: NDArray[np.float32],
        targets: Tensor,
        device: torch.device,
        size: int,
        *,
        seed: int,
        changed: Change | None,
    ) -> None:
        self.device = device
        self._changed = changed or _unchanged
        self.layout = torch.contiguous_format
        self._inputs = as_tensor(inputs, np.float32)
        if self._inputs.nbytes <= RESIDENT_BYTES:
            self._inputs = self._inputs.to(device)
        self._targets = targets.to(device)
        self._size = size
        self._generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._inputs), generator=self._generator)
        rows_of_inputs = order.to(self._inputs.device).split(self._size)
        rows_of_targets = order.to(self.device).split(self._size)
        for first, second in zip(rows_of_inputs, rows_of_targets, strict=True):
            if len(first) == 1 and 1 < self._size < len(order):
                continue  # a single sample has no batch statistics
            yield self._changed(self._taken(first), self._targets[second])

    def example(self) -> Tensor:
        return self._taken(torch.arange(min(2, len(self._inputs)), device=self._inputs.device))

    def _taken(self, rows: Tensor) -> Tensor:
        return self._inputs[rows].to(self.device).contiguous(memory_format=self.layout)
