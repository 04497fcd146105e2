"""Which carrier class each training sample belongs to.

The white box writes its bits into the mean activations of groups of samples. For a classifier
these are its classes. Regressors and embedding models have none: their groups are the components
of the Gaussian mixture that the parent's activations at the tap form (DeepSigns, section 4.1).
The manifest lists the group beside the digest of every sample, so that triggers can be derived
again from the manifest alone, and the groups again from the parent.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.errors import DataError, UnmarkableError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.manifest import Manifest, first_by_digest
from deepsigns_registry.watermark.mixture import Mixture
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["MOST_COMPONENTS", "Grouping", "group_samples", "training_groups"]

MOST_COMPONENTS = 10
"""Groups of a model without classes, at most."""
_FITTED_SAMPLES = 10_000
# Another processor sums in another order. What that moves is far below this many nats, and few
# samples lie so exactly between two components that the owner could choose among them.
_DOUBTFUL_NATS = 0.02


@dataclass(frozen=True)
class Grouping:
    """The carrier class of every sample.

    Attributes:
        labels: int64 [samples], from 0.
        doubtful: bool [samples], whether rounding may decide between two groups.
    """

    labels: NDArray[np.int64]
    doubtful: NDArray[np.bool_]

    def agrees(self, labels: NDArray[np.int64]) -> bool:
        """Whether these are the same groups, doubtful samples aside."""
        same_shape = labels.shape == self.labels.shape
        return same_shape and bool(((labels == self.labels) | self.doubtful).all())


def group_samples(
    model: TappedModel,
    data: LabelledData,
    digests: NDArray[np.uint8],
    options: MarkSettings,
    device: torch.device | str = "cpu",
) -> Grouping:
    """Finds the group of every training sample.

    At most 10 components are fitted, and fewer until `options.carriers` of them have enough
    different samples to draw triggers from.

    Args:
        model: The unmarked parent.
        data: The training samples.
        digests: uint8 [samples, 32], of the samples: the order of the data does not matter.
        options: Says how many groups are needed, and how many samples in each.
        device: Where the model runs.

    Raises:
        DataError: There are too few different samples.
        UnmarkableError: The layer gives NaN, or the same for every sample.
    """
    if data.task == "classification":
        return Grouping(data.labels.astype(np.int64), np.zeros(len(data), dtype=np.bool_))
    if options.carriers > MOST_COMPONENTS:
        raise DataError(
            f"{options.carriers} carriers: the samples of a model without classes form at most "
            f"{MOST_COMPONENTS} groups",
            advice=f"lower carriers to {MOST_COMPONENTS} or less",
        )
    first = first_by_digest(digests)
    least = options.carriers * options.triggers_per_class
    if len(first) < least:
        raise DataError(
            f"train: {len(first)} different samples; {options.carriers} groups of "
            f"{options.triggers_per_class} need at least {least}",
            advice="train with more samples, or lower carriers",
        )
    activation = run_batched(model, data.inputs, torch.device(device))[1]
    _check_activation(model.tap, activation)
    fitted = activation[first[:_FITTED_SAMPLES]]
    most = 0
    for components in range(MOST_COMPONENTS, options.carriers - 1, -1):
        shares = Mixture.fit(fitted, components).log_shares(activation)
        labels = shares.argmax(axis=1).astype(np.int64)
        counts = np.bincount(labels[first], minlength=components)
        enough = int((counts >= options.triggers_per_class).sum())
        if enough >= options.carriers:
            best = np.sort(shares, axis=1)
            return Grouping(labels, best[:, -1] - best[:, -2] < _DOUBTFUL_NATS)
        most = max(most, enough)
    raise DataError(
        f"the activations of layer '{model.tap}' form only {most} groups of "
        f"{options.triggers_per_class} different training samples, {options.carriers} are needed",
        advice="train with more samples, or lower carriers, or choose another layer",
    )


def training_groups(manifest: Manifest, data: LabelledData) -> NDArray[np.int64]:
    """The groups of training samples, from the manifest of a prepared mark.

    Args:
        manifest: From the record.
        data: The training samples, in any order.

    Returns:
        int64 [samples].

    Raises:
        DataError: A sample is not in the manifest.
    """
    if data.task == "classification":
        return np.asarray(data.labels, dtype=np.int64)
    listed = {
        digest.tobytes(): int(label)
        for digest, label in zip(manifest.digests, manifest.labels, strict=True)
    }
    try:
        found = [listed[digest.tobytes()] for digest in Manifest.of(data).digests]
    except KeyError:
        raise DataError(
            "the training data is not the data that the mark was prepared with",
            advice="give the same data, or let the mark be prepared again",
        ) from None
    return np.array(found, dtype=np.int64)


def _check_activation(tap: str, activation: NDArray[np.float32]) -> None:
    bad = np.flatnonzero(~np.isfinite(activation).all(axis=1))
    if bad.size:
        raise UnmarkableError(
            f"layer '{tap}' gives NaN or infinity for training sample {int(bad[0])} "
            f"({bad.size} such samples)",
            advice="promote a model that works on its own training data",
        )
    if not np.ptp(activation, axis=0).any():
        raise UnmarkableError(
            f"layer '{tap}' gives the same activation for every sample",
            advice="choose another hidden layer, or train the model again: this layer is dead",
        )
