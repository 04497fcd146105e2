"""Data that does not belong to its model, and data that does: what is refused before training.

    python -m benchmarks.ordinary.unfit [--quick] [--json]

Small parents are trained on data that scikit-learn ships or that is made up here. Each is judged
on 14 kinds of unfit data, and, with other seeds, splits and lengths of training, on its own.
No metric is logged with a version, which is the harder case.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.retraining.fitness import Described, Judgement, judge_data
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData

__all__ = ["FAULTS", "Parent", "Verdict", "fit_parents", "main", "trained", "unfit_rows"]

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


@dataclass(frozen=True)
class Verdict:
    """One judgement.

    Attributes:
        kind: Of the fault; `fit` where there is none.
        parent: Whose data it is.
        refused: Whether it was refused.
        right: Whether that is right, and for unfit data the reason is one of its kind.
        code: Of the reason.
        reason: For people; empty where nothing is refused.
    """

    kind: str
    parent: str
    refused: bool
    right: bool
    code: str
    reason: str


# --- data -------------------------------------------------------------------------------------


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


# --- faults -----------------------------------------------------------------------------------

Fault = Callable[[TrainingData, Generator], TrainingData]


def _labels(change: Callable[[NDArray[Any]], NDArray[Any]], data: TrainingData) -> TrainingData:
    parts = [LabelledData(s.inputs, change(s.labels)) for s in (data.train, data.validation)]
    return replace(data, train=parts[0], validation=parts[1])


def _inputs(change: Callable[[Floats], Floats], data: TrainingData) -> TrainingData:
    parts = [
        LabelledData(np.ascontiguousarray(change(s.inputs), dtype=np.float32), s.labels)
        for s in (data.train, data.validation)
    ]
    return replace(data, train=parts[0], validation=parts[1])


def _exchanged(data: TrainingData, rng: Generator) -> TrainingData:
    names = np.arange(data.classes)
    one, other = rng.choice(data.classes, 2, replace=False)
    names[[one, other]] = other, one
    return _labels(lambda labels: names[labels], data)


def _rotated(data: TrainingData, _rng: Generator) -> TrainingData:
    return _labels(lambda labels: (labels + 1) % data.classes, data)


def _shuffled(data: TrainingData, rng: Generator) -> TrainingData:
    return _labels(rng.permutation, data)


def _wrong(share: float) -> Fault:
    def spoil(data: TrainingData, rng: Generator) -> TrainingData:
        def change(labels: NDArray[Any]) -> NDArray[Any]:
            other = (labels + rng.integers(1, data.classes, len(labels))) % data.classes
            return np.where(rng.random(len(labels)) < share, other, labels)

        return _labels(change, data)

    return spoil


def _scaled(data: TrainingData, _rng: Generator) -> TrainingData:
    return _inputs(lambda inputs: inputs * np.float32(16), data)


def _columns(data: TrainingData, rng: Generator) -> TrainingData:
    shape = data.train.inputs.shape[1:]
    order = rng.permutation(int(np.prod(shape)))
    return _inputs(lambda x: x.reshape(len(x), -1)[:, order].reshape(-1, *shape), data)


def _channels(data: TrainingData, _rng: Generator) -> TrainingData:
    """The images' memory read as channels last where they are channels first."""
    shape = data.train.inputs.shape[1:]
    return _inputs(lambda x: x.transpose(0, 2, 3, 1).reshape(-1, *shape), data)


def _repeated(data: TrainingData, rng: Generator) -> TrainingData:
    """A quarter of the rows, four times each."""
    some = rng.permutation(len(data.train))[: len(data.train) // 4]
    rows = np.tile(some, 4)
    return replace(data, train=LabelledData(data.train.inputs[rows], data.train.labels[rows]))


def _leaked(data: TrainingData, rng: Generator) -> TrainingData:
    rows = rng.permutation(len(data.train))[: len(data.validation)]
    return replace(data, validation=LabelledData(data.train.inputs[rows], data.train.labels[rows]))


def _few(data: TrainingData, _rng: Generator) -> TrainingData:
    return replace(data, train=LabelledData(data.train.inputs[:60], data.train.labels[:60]))


def _other_task(data: TrainingData, _rng: Generator) -> TrainingData:
    """For ten classes even or odd; else whether the first column is large; a first column."""
    parts = []
    for split in (data.train, data.validation):
        first = split.inputs.reshape(len(split), -1)
        first = first[:, [int(data.train.inputs.reshape(len(data.train), -1).std(0).argmax())]]
        if data.task == "regression":
            labels: NDArray[Any] = first.astype(np.float32) * 50 + 100
        elif data.classes == 10:
            labels = split.labels % 2
        else:
            labels = (first[:, 0] > np.median(first)).astype(np.int64)
        parts.append(LabelledData(split.inputs, labels))
    return replace(data, train=parts[0], validation=parts[1])


def _other_data(data: TrainingData, rng: Generator) -> TrainingData:
    """Clouds of other places, as many features and classes."""
    shape, width = data.train.inputs.shape[1:], int(np.prod(data.train.inputs.shape[1:]))
    places = rng.uniform(-2, 2, (data.classes, width)) + rng.uniform(-3, 3, width)
    parts = []
    for split in (data.train, data.validation):
        labels = rng.integers(0, data.classes, len(split))
        rows = places[labels] + rng.standard_normal((len(split), width))
        parts.append(LabelledData(rows.reshape(-1, *shape).astype(np.float32), labels))
    return replace(data, train=parts[0], validation=parts[1])


def _constant(data: TrainingData, rng: Generator) -> TrainingData:
    shape = data.train.inputs.shape[1:]
    lost = rng.permutation(int(np.prod(shape)))[: int(np.prod(shape)) // 2]

    def change(inputs: Floats) -> Floats:
        flat = inputs.reshape(len(inputs), -1).copy()
        flat[:, lost] = 0
        return flat.reshape(-1, *shape)

    return _inputs(change, data)


_FORM = ("input-form", "input-example", "near-chance", "another-data")
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "exchanged": (_exchanged, ("renamed-classes", "near-chance")),
    "rotated": (_rotated, ("renamed-classes", "near-chance")),
    "shuffled": (_shuffled, ("near-chance",)),
    "10% wrong": (_wrong(0.1), ("wrong-labels",)),
    "30% wrong": (_wrong(0.3), ("wrong-labels",)),
    "scale": (_scaled, ("input-form",)),
    "columns": (_columns, _FORM),
    "channel order": (_channels, _FORM),
    "duplicated rows": (_repeated, ("duplicated-rows",)),
    "leaked validation": (_leaked, ("leaked-validation",)),
    "too few": (_few, ("too-few-samples",)),
    "another task": (_other_task, ("near-chance", "another-data", "targets")),
    "another model's data": (_other_data, _FORM),
    "constant features": (_constant, (*_FORM, "lost-features")),
}
"""The kinds of unfit data: how the data is spoilt, and which reasons are right."""

_SPOILT = ("digits-mlp", "digits-cnn", "breast", "fraud-10%", "colours-cnn")


def spoilt(parent: Parent, seed: int) -> Iterator[Verdict]:
    """Judges every kind of unfit data for one classifier."""
    for number, (kind, (fault, codes)) in enumerate(FAULTS.items()):
        if kind == "channel order" and parent.example.ndim != 4:
            continue
        if kind == "channel order" and parent.example.shape[1] == 1:
            continue
        data = fault(parent.data, np.random.default_rng([seed, number]))
        found = parent.judged(data).refusal
        code, reason = (found.code, found.message) if found else ("", "")
        yield Verdict(kind, parent.name, bool(found), code in codes, code, reason)


def fit_parents(seeds: int) -> Iterator[Parent]:
    """Parents of all data sets, trained briefly, ordinarily and long."""
    brief = {"wine": 4, "breast": 2, "diabetes": 20, "colours-cnn": 0.5}
    for model in _MODELS:
        for seed in range(seeds):
            least = brief.get(model, 1.0)
            for place, factor in enumerate((1, 5, 20)):
                yield trained(model, seed=seed, epochs=least * factor, held=place == 1)


def unfit_rows(*, quick: bool = False) -> list[Verdict]:
    """Trains the parents and judges everything: 14 kinds of unfit data, and fit data."""
    rows = []
    for model in _SPOILT[:: 4 if quick else 1]:
        parent = trained(model, seed=7, epochs=15)
        rows += list(spoilt(parent, 7))
    for parent in fit_parents(1 if quick else 2):
        found = parent.judged(parent.data).refusal
        code, reason = (found.code, found.message) if found else ("", "")
        rows.append(Verdict("fit", parent.name, bool(found), found is None, code, reason))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Prints the rows and returns 0 when nothing fit was refused."""
    parser = argparse.ArgumentParser(prog="benchmarks.ordinary.unfit")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = unfit_rows(quick=options.quick)
    fit = [row for row in rows if row.kind == "fit"]
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in FAULTS}
    result = {
        "kinds": len(kinds),
        "kinds_refused": sum(all(row.right for row in found) for found in kinds.values()),
        "unfit": len(rows) - len(fit),
        "unfit_refused": sum(row.right for row in rows if row.kind != "fit"),
        "fit": len(fit),
        "fit_refused": sum(row.refused for row in fit),
    }
    if options.json:
        print(json.dumps({**result, "rows": [asdict(row) for row in rows]}, indent=1))
        return int(result["fit_refused"] > 0)
    for kind, found in {**kinds, "fit": fit}.items():
        print(f"{kind}: {sum(row.refused for row in found)} of {len(found)} refused")
        for row in found:
            if row.refused or kind != "fit":
                word = "right" if row.right else "WRONG"
                print(f"  {word} {row.parent}: {row.code}: {row.reason}")
    print(", ".join(f"{name} {value}" for name, value in result.items()))
    return int(result["fit_refused"] > 0)


if __name__ == "__main__":
    sys.exit(main())
