"""What is counted in the data, as the table that `expectations` judges."""

import numpy as np

from deepsigns_registry.retraining.fitness.described import Described
from deepsigns_registry.retraining.fitness.example import Comparison
from deepsigns_registry.retraining.fitness.form import (
    constant_features,
    fits_shape,
    non_finite,
    outside_labels,
)
from deepsigns_registry.retraining.fitness.rows import row_digests, row_size
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["count"]

Row = dict[str, float | None]


def count(
    data: TrainingData, described: Described, compared: Comparison | None, options: MarkSettings
) -> list[Row]:
    """Counts both splits.

    Args:
        data: Both splits.
        described: What the version says of itself.
        compared: What its input example says of the data, if there is one.
        options: Says how many different samples a mark needs.
    """
    splits = (data.train, data.validation)
    digests = [row_digests(split.inputs) for split in splits]
    sizes = [row_size(split.inputs) for split in splits]
    rows = []
    for split, mine, other, size in zip(splits, digests, digests[::-1], sizes, strict=True):
        row = _plain(split, data, described)
        row["repeated"] = float(len(mine) - len(np.unique(mine)))
        row["shared"] = float(np.isin(mine, other).sum())
        row["carriers_lacking"] = None
        row["example_as_data"] = None if compared is None else float(not compared.differs)
        row["size_against_example"] = _ratio(size, _example_size(described))
        row["against_validation"] = _ratio(size, sizes[1])
        rows.append(row)
    rows[0]["carriers_lacking"] = _carriers_lacking(data, digests[0], options)
    return rows


def _plain(split: LabelledData, data: TrainingData, described: Described) -> Row:
    shape = split.inputs.shape[1:]
    classifies = data.task == "classification"
    labels = np.unique(split.labels) if classifies else np.empty(0)
    return {
        "rows": float(len(split)),
        "shape_as_signed": float(fits_shape(shape, described)) if described.shape else None,
        "type_as_signed": float(described.dtype.startswith("float")) if described.dtype else None,
        "not_finite": float(non_finite(split.inputs) + non_finite(split.labels)),
        "outside_labels": float(outside_labels(split.labels, data.classes)),
        "classes_lacking": float(max(data.classes - len(labels), 0)) if classifies else None,
        "constant_features": float(constant_features(split.inputs)),
    }


def _carriers_lacking(
    data: TrainingData, digests: "np.typing.NDArray[np.uint64]", options: MarkSettings
) -> float:
    wanted = options.triggers_per_class
    if data.task != "classification":
        return float(max(0, options.carriers - len(np.unique(digests)) // wanted))
    pairs = [digests[data.train.labels == label] for label in range(data.classes)]
    enough = sum(len(np.unique(part)) >= wanted for part in pairs)
    return float(max(0, min(options.carriers, data.classes) - enough))


def _example_size(described: Described) -> float:
    return 0.0 if described.example is None else row_size(described.example)


def _ratio(size: float, other: float) -> float | None:
    return size / other if other and np.isfinite(size / other) else None
