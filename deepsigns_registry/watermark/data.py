"""The owner's samples and their targets, and the checks that stand before any training."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import DataError

__all__ = ["LabelledData", "Task", "TrainingData"]

Task = Literal["classification", "regression", "embedding"]
"""What a model is trained for; see `LabelledData`."""


@dataclass(frozen=True)
class LabelledData:
    """Samples with a target each; the form of the targets says which task they are for.

    Attributes:
        inputs: float32 [samples, ...], finite.
        labels: `classification`: int64 [samples], each in [0, classes). `regression`: float32
            [samples, targets]. `embedding`: float32 [samples, 0], for a model that gives a
            vector and whose training loss is not at hand.

    Examples:
        >>> LabelledData(np.zeros((3, 2), np.float32), np.array([0, 1, 0])).task
        'classification'
        >>> LabelledData.without_labels(np.zeros((3, 2), np.float32)).task
        'embedding'
    """

    inputs: NDArray[np.float32]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def without_labels(cls, inputs: NDArray[np.float32]) -> "LabelledData":
        """Samples of an embedding model."""
        return cls(inputs, np.empty((len(inputs), 0), dtype=np.float32))

    @property
    def task(self) -> Task:
        """What these samples can train."""
        if not np.issubdtype(self.labels.dtype, np.floating):
            return "classification"
        return "embedding" if self.labels.ndim == 2 and not self.labels.shape[1] else "regression"


@dataclass(frozen=True)
class TrainingData:
    """What the owner trains on, and what the owner measures on.

    Attributes:
        train: Samples the watermark is embedded with.
        validation: Samples held out, for fidelity.
        classes: Number of the model's outputs: of classes for a classifier, of targets for a
            regressor, of components for an embedding model.
    """

    train: LabelledData
    validation: LabelledData
    classes: int

    @property
    def task(self) -> Task:
        """What the model is trained for."""
        return self.train.task

    def validated(self) -> "TrainingData":
        """Returns itself after every check has passed.

        Raises:
            DataError: The first problem found, with the split and the sample's index.
        """
        for split, data in (("train", self.train), ("validation", self.validation)):
            _check_split(split, data, self.classes)
        if self.train.task != self.validation.task:
            raise DataError(
                f"train labels are for {self.train.task}, validation labels for "
                f"{self.validation.task}",
                advice="give both splits the same kind of labels",
            )
        if self.train.inputs.shape[1:] != self.validation.inputs.shape[1:]:
            raise DataError(
                f"train samples have shape {self.train.inputs.shape[1:]}, validation samples "
                f"{self.validation.inputs.shape[1:]}",
                advice="give both splits the same sample shape",
            )
        return self


def _check_split(split: str, data: LabelledData, classes: int) -> None:
    if len(data.inputs) == 0:
        raise DataError(f"{split}: no samples", advice="check what the data loader returns")
    if data.task == "classification":
        _check_classes(split, data, classes)
    else:
        _check_targets(split, data, classes)
    _check_finite(split, "sample", data.inputs)


def _check_classes(split: str, data: LabelledData, classes: int) -> None:
    if len(data.inputs) != len(data.labels) or data.labels.ndim != 1:
        raise DataError(
            f"{split}: {len(data.inputs)} samples but labels of shape {data.labels.shape}",
            advice="give one integer label for each sample",
        )
    if not np.issubdtype(data.labels.dtype, np.integer):
        raise DataError(
            f"{split}: labels are {data.labels.dtype}", advice="give integer class numbers"
        )
    outside = np.flatnonzero((data.labels < 0) | (data.labels >= classes))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"{split}: label {int(data.labels[first])} of sample {first} is outside the "
            f"{classes} classes ({outside.size} such samples)",
            advice=f"use labels 0 to {classes - 1}",
        )


def _check_targets(split: str, data: LabelledData, outputs: int) -> None:
    targets = 0 if data.task == "embedding" else outputs
    if data.labels.shape != (len(data.inputs), targets):
        raise DataError(
            f"{split}: {len(data.inputs)} samples but targets of shape {data.labels.shape} for a "
            f"model of {outputs} outputs",
            advice="give each sample one number for each output",
        )
    if data.task == "embedding":
        return
    _check_finite(split, "the target of sample", data.labels)
    constant = np.flatnonzero(np.ptp(data.labels, axis=0) == 0)
    if constant.size:
        raise DataError(
            f"{split}: target {int(constant[0])} is the same for every sample",
            advice="leave it out, or check what the data loader returns",
        )


def _check_finite(split: str, what: str, values: NDArray[np.float32]) -> None:
    # The ends of the range are NaN or infinite where any value is, and are found in one pass.
    if not values.size or np.isfinite([values.min(), values.max()]).all():
        return
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    first = int(np.flatnonzero(~finite)[0])
    raise DataError(
        f"{split}: {what} {first} holds NaN or infinity ({int((~finite).sum())} such samples)",
        advice="clean the data before promotion",
    )
