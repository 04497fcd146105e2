"""Every architecture on real small data: what the generality rows mark."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import load
from benchmarks.models import (
    cnn,
    embedding,
    mlp,
    regressor,
    resnet,
    transformer,
    wide_resnet,
)
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel, choose_tap
from deepsigns_registry.watermark.carriers import MOST_COMPONENTS
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.targets import task_loss
from deepsigns_registry.watermark.whitebox import width_needed

__all__ = ["SMALL", "Small", "trained"]

_DIGITS = (1, 8, 8)
_TEMPERATURE = 0.1
_VECTOR = 16
# Rows of a digit that the regressor sees; it is asked how bright the others are.
_SEEN_ROWS = 5


@dataclass(frozen=True)
class Small:
    """A model on real small data.

    Attributes:
        data: What it is trained on, in words.
        build: Draws it.
        samples: Gives its data.
    """

    data: str
    build: Callable[[], nn.Module]
    samples: Callable[[], TrainingData]


def _digits() -> TrainingData:
    return load("digits")


def _mnist() -> TrainingData:
    return load("mnist-5k")


def _lower_part() -> TrainingData:
    """How bright four fields of a digit's lower part are, from its upper rows."""
    digits = load("digits")
    return TrainingData(_completed(digits.train), _completed(digits.validation), 4)


def _completed(data: LabelledData) -> LabelledData:
    rows = data.inputs[:, 0, _SEEN_ROWS:].mean(axis=1)
    targets = rows.reshape(len(data), 4, 2).mean(axis=2)
    return LabelledData(data.inputs[:, :, :_SEEN_ROWS], targets.astype(np.float32))


def _vectors() -> TrainingData:
    digits = load("digits")
    train, validation = (
        LabelledData.without_labels(part.inputs) for part in (digits.train, digits.validation)
    )
    return TrainingData(train, validation, _VECTOR)


SMALL = {
    "mlp": Small("MNIST, 4,000", partial(mlp, (1, 28, 28), 10), _mnist),
    "cnn": Small("digits", partial(cnn, _DIGITS, 10, padding=1), _digits),
    "resnet": Small("digits", partial(resnet, _DIGITS, 10), _digits),
    "wide-resnet": Small(
        "digits, WRN-10-2", partial(wide_resnet, _DIGITS, 10, depth=10, width=2), _digits
    ),
    "transformer": Small("digits", partial(transformer, _DIGITS, 10), _digits),
    "regressor": Small(
        "digits, lower rows from upper", partial(regressor, (1, _SEEN_ROWS, 8), 4), _lower_part
    ),
    "embedding": Small("digits", partial(embedding, _DIGITS, _VECTOR), _vectors),
}
"""By the names of `models.MODELS`."""


def trained(
    name: str, *, epochs: int, seed: int, settings: MarkSettings, device: torch.device
) -> tuple[EagerTappedModel, TrainingData]:
    """Trains one of `SMALL`, and taps it where `layer = "auto"` would.

    Args:
        name: Its key.
        epochs: Passes over the samples.
        seed: Of the weights and the order.
        settings: How it will be marked.
        device: Where to train.
    """
    small = SMALL[name]
    data = small.samples()
    torch.manual_seed(seed)
    module = small.build().to(device)
    inputs = torch.from_numpy(data.train.inputs).to(device)
    targets, loss = _goal(data, device)
    parameters = [*module.parameters(), *loss.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).to(device).split(64):
            value = loss(module(inputs[rows]), targets[rows])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            optimizer.step()
    module.eval()
    groups = data.classes if data.task == "classification" else MOST_COMPONENTS
    width = width_needed(settings, groups)
    return EagerTappedModel(module, choose_tap(module, inputs[:4], width=width).tap), data


def _goal(data: TrainingData, device: torch.device) -> tuple[Tensor, nn.Module]:
    if data.task == "embedding":
        labels = torch.from_numpy(load("digits").train.labels).to(device)
        return labels, _Proxies(10, device)
    targets = torch.from_numpy(data.train.labels).to(device)
    spread = float(targets.float().var(dim=0).mean()) if data.task == "regression" else 1.0
    return targets, _TaskLoss(data, spread)


class _TaskLoss(nn.Module):
    def __init__(self, data: TrainingData, spread: float) -> None:
        super().__init__()
        self._task, self._spread = data.task, spread

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return task_loss(outputs, targets, self._task, self._spread)


class _Proxies(nn.Module):
    """Vectors of one class gather at its proxy (Movshovitz-Attias et al. 2017)."""

    def __init__(self, classes: int, device: torch.device) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(classes, _VECTOR, device=device))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        cosines = outputs @ functional.normalize(self.proxies, dim=1).T
        return functional.cross_entropy(cosines / _TEMPERATURE, labels)
