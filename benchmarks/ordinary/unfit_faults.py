"""The kinds of data that does not belong to its model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.data import LabelledData, TrainingData

__all__ = ["FAULTS"]

Floats = NDArray[np.float32]
Generator = np.random.Generator
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
