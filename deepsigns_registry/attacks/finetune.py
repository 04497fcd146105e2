"""Fine-tuning: the thief goes on training with data of their own."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.attacks.attack import Progress, parse_number
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, DataError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Finetune"]

_ADVICE = "write a whole number of epochs from 1 to 1000, such as finetune:3"
_MOST_EPOCHS = 1000


class Finetune:
    """Training of every layer with Adam; the strength is the number of epochs.

    Args:
        learning_rate: Adam's step size.
        batch_size: Samples a step.

    Examples:
        >>> Finetune().parse("3")
        3.0
    """

    name = "finetune"

    def __init__(self, *, learning_rate: float = 1e-3, batch_size: int = 128) -> None:
        self._learning_rate = learning_rate
        self._batch_size = batch_size

    def parse(self, strength: str) -> float:
        """Reads a number of epochs.

        Raises:
            ConfigurationError: It is no whole number from 1 to 1000.
        """
        epochs = parse_number(self.name, strength, _ADVICE)
        if not 1 <= epochs <= _MOST_EPOCHS or epochs != int(epochs):
            raise ConfigurationError(
                f"attack {self.name}: strength {strength} is no number of epochs", advice=_ADVICE
            )
        return epochs

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
            DataError: There is no data, or a label is outside the model's classes.
            CouldNotCheckError: The model has nothing to train, or its loss is no longer finite.
        """
        if len(data) == 0 or len(data.inputs) != len(data.labels):
            raise DataError(
                f"attack finetune: {len(data.inputs)} samples with {len(data)} labels",
                advice="give the attack training data, one label for each sample",
            )
        attacked = copy.deepcopy(model)
        trained = [weight for weight in attacked.parameters() if weight.requires_grad]
        if not trained:
            raise CouldNotCheckError(
                "attack finetune: the model has no float weights to train",
                advice="attack the file from before quantisation",
            )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._train(attacked, trained, int(strength), data, seed=seed, progress=progress)
        return attacked.eval()

    def _train(
        self,
        model: TappedModel,
        weights: list[nn.Parameter],
        epochs: int,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None,
    ) -> None:
        device = weights[0].device
        inputs = torch.from_numpy(np.asarray(data.inputs, np.float32)).to(device)
        labels = torch.from_numpy(np.asarray(data.labels, np.int64)).to(device)
        criterion = _criterion(model, inputs, labels)
        optimizer = torch.optim.Adam(weights, lr=self._learning_rate)
        order = torch.Generator().manual_seed(seed)
        model.train()
        for epoch in range(epochs):
            batches = torch.split(torch.randperm(len(labels), generator=order), self._batch_size)
            for batch in batches:
                if len(batch) == 1 and len(batches) > 1:
                    continue  # a single sample has no batch statistics
                loss = criterion(model(inputs[batch]).outputs, labels[batch])
                if not torch.isfinite(loss):
                    raise CouldNotCheckError(
                        f"attack finetune: the loss is {loss.item()} in epoch {epoch + 1}",
                        advice="look for NaN in the training data, or use a smaller learning rate",
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if progress is not None:
                progress((epoch + 1) / epochs, f"epoch {epoch + 1}, loss {loss.item():.4f}")


def _criterion(model: TappedModel, inputs: Tensor, labels: Tensor) -> nn.Module:
    """Cross-entropy, for a model that gives logits or one that gives probabilities."""
    model.eval()
    with torch.no_grad():
        outputs = model(inputs[:16]).outputs
    classes = outputs.shape[1]
    outside = torch.nonzero((labels < 0) | (labels >= classes))
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"attack finetune: label {int(labels[first])} of sample {first} is outside the "
            f"{classes} classes",
            advice=f"use labels 0 to {classes - 1}",
        )
    sums = outputs.sum(dim=1)
    if bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        return _ProbabilityLoss()
    return nn.CrossEntropyLoss()


class _ProbabilityLoss(nn.Module):
    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.nll_loss(outputs.clamp(min=1e-9).log(), labels)
