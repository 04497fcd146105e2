"""Small parents on data that scikit-learn ships or that is made up here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.retraining.fitness import Described, Judgement, judge_data
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData

__all__ = ["Parent", "fit_parents", "trained"]

Floats = NDArray[np.float32]
Pair = tuple[NDArray[Any], NDArray[Any]]
Generator = np.random.Generator


@dataclass(frozen=True)
class Parent:
    """A trained model with its data.

    Attributes:
        name: Of data and network.
        net: In evaluation mode.
        data: What it was trained on, and held-out samples.
        example: Its input example.
    """

    name: str
    net: nn.Module
    data: TrainingData
    example: Floats

    def judged(self, data: TrainingData) -> Judgement:
        """The judgement of some data for this parent."""
        described = Described(example=self.example, shape=self.example.shape[1:], dtype="float32")
        first = next(name for name, _ in self.net.named_modules() if name)
        return judge_data(EagerTappedModel(self.net, first), data, described, device="cpu")


def _digits(_rng: Generator) -> Pair:
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    return inputs / 16, labels


def _images(rng: Generator) -> Pair:
    inputs, labels = _digits(rng)
    return inputs.reshape(-1, 1, 8, 8), labels


def _breast(_rng: Generator) -> Pair:
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    return (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), labels


def _wine(_rng: Generator) -> Pair:
    """A little noise makes of 178 rows as many as a mark needs."""
    from sklearn.datasets import load_wine

    inputs, labels = load_wine(return_X_y=True)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    rows = np.concatenate([inputs, inputs + 0.3 * _rng.standard_normal(inputs.shape)])
    return rows, np.tile(labels, 2)


def _diabetes(_rng: Generator) -> Pair:
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    return inputs / inputs.std(axis=0), ((targets - targets.mean()) / targets.std())[:, None]


def _fraud(positives: float) -> Callable[[Generator], Pair]:
    def made(rng: Generator) -> Pair:
        inputs = rng.standard_normal((8000, 30))
        risk = inputs @ rng.standard_normal(30) / 30**0.5 + 0.5 * rng.standard_normal(8000)
        return inputs, (risk > np.quantile(risk, 1 - positives)).astype(np.int64)

    return made


def _discrete(rng: Generator) -> Pair:
    """Seven features of three values: rows meet by chance, within and across the splits."""
    inputs = rng.integers(0, 3, (3000, 7))
    score = inputs @ rng.standard_normal(7) + rng.standard_normal(3000)
    return inputs, np.digitize(score, np.quantile(score, [0.33, 0.66]))


def _colours(rng: Generator) -> Pair:
    base = rng.uniform(0, 1, (6, 3, 1, 1))
    texture = rng.uniform(0, 1, (6, 3, 4, 4)).repeat(2, axis=2).repeat(2, axis=3)
    labels = rng.integers(0, 6, 2400)
    images = (0.6 * base + 0.4 * texture)[labels] + 0.25 * rng.standard_normal((2400, 3, 8, 8))
    return np.clip(images, 0, 1), labels


# --- networks ---------------------------------------------------------------------------------


def _dense(*widths: int, norm: bool = False) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def _cnn(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, classes)),
    )


_Make = tuple[Callable[[Generator], Pair], Callable[[], nn.Module]]
_MODELS: dict[str, _Make] = {
    "digits-mlp": (_digits, lambda: _dense(64, 128, 64, 10)),
    "digits-batchnorm": (_digits, lambda: _dense(64, 128, 64, 10, norm=True)),
    "digits-cnn": (_images, lambda: _cnn(1, 10)),
    "breast": (_breast, lambda: _dense(30, 64, 64, 2)),
    "wine": (_wine, lambda: _dense(13, 64, 3)),
    "fraud-1%": (_fraud(0.01), lambda: _dense(30, 128, 64, 2)),
    "fraud-10%": (_fraud(0.1), lambda: _dense(30, 128, 64, 2)),
    "fraud-50%": (_fraud(0.5), lambda: _dense(30, 128, 64, 2)),
    "discrete": (_discrete, lambda: _dense(7, 64, 3)),
    "colours-cnn": (_colours, lambda: _cnn(3, 6)),
    "diabetes": (_diabetes, lambda: _dense(10, 64, 64, 1)),
}


def trained(model: str, *, seed: int, epochs: float, held: bool = False) -> Parent:
    """Trains one of the parents.

    Args:
        model: Its name.
        seed: Of data, split and training.
        epochs: Passes over the training data.
        held: The example is of rows that stand in neither split, instead of the first four.
    """
    make, network = _MODELS[model]
    inputs, labels = make(np.random.default_rng(seed))
    order = np.random.default_rng(100 + seed).permutation(len(labels))
    rows = np.ascontiguousarray(inputs[order], dtype=np.float32)
    labels = labels[order].astype(np.float32 if labels.dtype.kind == "f" else np.int64)
    outside, cut = (4 if held else 0), len(rows) * 4 // 5
    example = rows[:4]
    train = LabelledData(rows[outside:cut], labels[outside:cut])
    validation = LabelledData(rows[cut:], labels[cut:])
    classes = 1 if labels.ndim == 2 else int(labels.max()) + 1
    torch.manual_seed(seed)
    net = network().train()
    _fit(net, train, epochs, seed)
    data = TrainingData(train, validation, classes).validated()
    return Parent(f"{model} seed {seed} epochs {epochs:g}", net.eval(), data, example)


def _fit(net: nn.Module, data: LabelledData, epochs: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    loss = nn.CrossEntropyLoss() if data.task == "classification" else nn.MSELoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    steps = max(1, round(epochs * len(data) / 64))
    while steps > 0:
        for rows in torch.randperm(len(data), generator=generator).split(64)[:steps]:
            optimizer.zero_grad()
            torch.autograd.backward(loss(net(inputs[rows]), labels[rows]))
            optimizer.step()
            steps -= 1


def fit_parents(seeds: int) -> Iterator[Parent]:
    """Parents of all data sets, trained briefly, ordinarily and long."""
    brief = {"wine": 4, "breast": 2, "diabetes": 20, "colours-cnn": 0.5}
    for model in _MODELS:
        for seed in range(seeds):
            least = brief.get(model, 1.0)
            for place, factor in enumerate((1, 5, 20)):
                yield trained(model, seed=seed, epochs=least * factor, held=place == 1)
