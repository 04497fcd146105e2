"""Labelled samples, and the checks that stand before any training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import DataError

__all__ = ["LabelledData", "TrainingData"]


@dataclass(frozen=True)
class LabelledData:
    """Samples with one class each.

    Attributes:
        inputs: float32 [samples, ...], finite.
        labels: int64 [samples], each in [0, classes).
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrainingData:
    """What the owner trains on, and what the owner measures on.

    Attributes:
        train: Samples the watermark is embedded with.
        validation: Samples held out, for fidelity.
        classes: Number of classes of the model's output.
    """

    train: LabelledData
    validation: LabelledData
    classes: int

    def validated(self) -> "TrainingData":
        """Returns itself after every check has passed.

        Raises:
            DataError: The first problem found, with the split and the sample's index.
        """
        for split, data in (("train", self.train), ("validation", self.validation)):
            _check_split(split, data, self.classes)
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
    finite = np.isfinite(data.inputs.reshape(len(data.inputs), -1)).all(axis=1)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        raise DataError(
            f"{split}: sample {first} holds NaN or infinity ({int((~finite).sum())} such samples)",
            advice="clean the data before promotion",
        )
