"""Whether the data has the form that the version's signature asks for; asks no model."""

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.retraining.fitness.described import Described
from deepsigns_registry.retraining.fitness.finding import Finding
from deepsigns_registry.watermark.data import TrainingData

__all__ = ["constant_features", "fits_shape", "judge_form", "non_finite", "outside_labels"]


def non_finite(values: NDArray[np.generic]) -> int:
    """How many of the numbers are NaN or infinite.

    Examples:
        >>> non_finite(np.array([1.0, np.nan, np.inf]))
        2
    """
    return int(values.size - np.isfinite(values).sum())


def outside_labels(labels: NDArray[np.generic], classes: int) -> int:
    """How many labels of a classifier are no class.

    Examples:
        >>> outside_labels(np.array([0, 1, 5, -1]), classes=3)
        2
    """
    if not np.issubdtype(labels.dtype, np.integer):
        return 0
    whole = labels.astype(np.int64)
    return int(((whole < 0) | (whole >= classes)).sum())


def constant_features(inputs: NDArray[np.float32]) -> int:
    """How many features are the same in every sample.

    Examples:
        >>> constant_features(np.array([[1, 0], [2, 0]], np.float32))
        1
    """
    flat = inputs.reshape(len(inputs), -1)
    return int((flat.min(axis=0) == flat.max(axis=0)).sum())


def fits_shape(shape: tuple[int, ...], described: Described) -> bool:
    """Whether samples of this shape are what the signature asks for; True where it is silent."""
    wanted = described.shape
    return not wanted or (
        len(shape) == len(wanted)
        and all(size is None or size == given for size, given in zip(wanted, shape, strict=True))
    )


def judge_form(data: TrainingData, described: Described) -> list[Finding]:
    """Refuses numbers that are none, labels outside the classes and samples of another shape.

    Constant features are no fault: images have borders.
    """
    findings = []
    for name, split in (("train", data.train), ("validation", data.validation)):
        bad = non_finite(split.inputs) + non_finite(split.labels)
        if bad:
            findings.append(
                Finding(
                    "not-finite",
                    refuses=True,
                    message=f"{name}: {bad} numbers of the data are NaN or infinite",
                    advice="clean the data before promotion",
                )
            )
        outside = outside_labels(split.labels, data.classes)
        if outside:
            findings.append(
                Finding(
                    "label-range",
                    refuses=True,
                    message=f"{name}: {outside} labels are outside the {data.classes} classes",
                    advice=f"use labels 0 to {data.classes - 1}",
                )
            )
    shape = data.train.inputs.shape[1:]
    if not fits_shape(shape, described):
        findings.append(_other_shape(shape, described.shape))
    still = constant_features(data.train.inputs)
    if still:
        total = int(np.prod(shape))
        findings.append(
            Finding(
                "constant-features",
                refuses=False,
                message=f"train: {still} of {total} features of the data are constant",
            )
        )
    return findings


def _other_shape(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> Finding:
    asked = tuple("any" if size is None else size for size in wanted)
    known = sorted(size for size in wanted if size is not None)
    same = len(known) == len(shape) and known == sorted(shape)
    why = (
        ": its axes are in another order, such as channels last for channels first" if same else ""
    )
    return Finding(
        "shape",
        refuses=True,
        message=f"data: samples have the shape {shape}, and the version's signature asks for "
        f"{asked}{why}",
        advice="give the inputs in the layout that the version was trained with",
    )
