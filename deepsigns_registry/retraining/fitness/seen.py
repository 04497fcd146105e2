"""What the parent answers to the data."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["Answered", "answers_of", "chosen_rows", "log_shares"]

_MOST = {"train": 6_000, "validation": 4_000}


@dataclass(frozen=True)
class Answered:
    """Samples of both splits with what the parent gives for them.

    Attributes:
        inputs: float32 [samples, ...].
        labels: int64 [samples] classes, or float64 [samples, targets].
        train: bool [samples], whether the sample is one of the training split.
        outputs: float64 [samples, outputs]; of a classifier the logarithms of its shares.
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.generic]
    train: NDArray[np.bool_]
    outputs: NDArray[np.float64]

    @property
    def classes(self) -> NDArray[np.int64]:
        """The labels of a classifier: int64 [samples]."""
        return self.labels.astype(np.int64)

    @property
    def answers(self) -> NDArray[np.int64]:
        """The class that a classifier answers: int64 [samples]."""
        return np.asarray(self.outputs.argmax(axis=1), dtype=np.int64)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether a classifier answers as labelled: bool [samples]."""
        return np.asarray(self.answers == self.classes, dtype=np.bool_)


def answers_of(model: TappedModel, data: TrainingData, device: torch.device) -> Answered:
    """Shows the data to the parent, at most 10,000 samples of it, always the same ones.

    Args:
        model: The unmarked parent; its outputs are finite for what comes back to be of use.
        data: Both splits.
        device: Where the model runs.
    """
    parts = [
        (name, split, chosen_rows(len(split), _MOST[name]))
        for name, split in (("train", data.train), ("validation", data.validation))
    ]
    inputs = np.concatenate([split.inputs[rows] for _, split, rows in parts])
    outputs = run_batched(model, inputs, device)[0].astype(np.float64)
    labels = np.concatenate([_labels(split, rows) for _, split, rows in parts])
    train = np.concatenate([np.full(len(rows), name == "train") for name, _, rows in parts])
    if data.task == "classification":
        outputs = log_shares(outputs)
    return Answered(inputs, labels, train, outputs)


def log_shares(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithms of the shares that a classifier gives its classes.

    Args:
        outputs: float64 [samples, classes], logits or such logarithms.

    Examples:
        >>> np.exp(log_shares(np.array([[0.0, 0.0]])))
        array([[0.5, 0.5]])
    """
    moved = outputs - outputs.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)), dtype=np.float64)


def chosen_rows(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of the rows, drawn once and for all: int64, ascending.

    Examples:
        >>> chosen_rows(3, 10), len(chosen_rows(100, 10))
        (array([0, 1, 2]), 10)
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _labels(data: LabelledData, rows: NDArray[np.int64]) -> NDArray[np.generic]:
    return np.asarray(data.labels[rows])
