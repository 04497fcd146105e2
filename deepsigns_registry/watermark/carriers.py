"""Which carrier class each training sample belongs to.

The white box writes its bits into the mean activations of groups of samples. For a classifier
these are its classes. Regressors and embedding models have none, and of a classifier's too few may
have enough samples, as where one in a hundred transactions is fraud: their groups are the
components of the Gaussian mixture that the parent's activations at the tap form (DeepSigns,
section 4.1).
The manifest lists the group beside the digest of every sample, so that triggers can be derived
again from the manifest alone, and the groups again from the parent.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import DataError, UnmarkableError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.manifest import Manifest, first_by_digest
from deepsigns_registry.watermark.mixture import Mixture
from deepsigns_registry.watermark.settings import MarkSettings

if TYPE_CHECKING:
    import torch

    from deepsigns_registry.watermark.tapped import TappedModel

__all__ = [
    "LEAST_GROUPS",
    "MOST_COMPONENTS",
    "Grouping",
    "carrier_counts",
    "group_samples",
    "neurons_needed",
    "training_groups",
]

MOST_COMPONENTS = 10
"""Groups of a model without classes, at most."""
LEAST_GROUPS = 2
"""Groups that carry bits, at least: one alone would need a layer as wide as all bits together."""
_FITTED_SAMPLES = 10_000
# Another processor sums in another order. What that moves is far below this many nats, and few
# samples lie so exactly between two components that the owner could choose among them.
_DOUBTFUL_NATS = 0.02


# Random sign patterns fit into 2 neurons a bit with room to spare (Cover 1965: capacity of a
# linear threshold is two patterns a dimension; below one neuron a bit some patterns are out).
_LEAST_NEURONS_PER_BIT = 1.5


def carrier_counts(options: MarkSettings, groups: int) -> list[int]:
    """In how many carrier classes the bits can be shared equally, as many as asked for at first.

    Args:
        options: Says how many bits there are, and how many carriers are asked for.
        groups: How many groups have enough samples.

    Returns:
        Increasing; empty when fewer than two groups have enough.

    Examples:
        >>> carrier_counts(MarkSettings(bits=128, carriers=4), 10)
        [4, 8]
        >>> carrier_counts(MarkSettings(bits=128, carriers=4), 3)
        [2]
    """
    possible = [
        count for count in range(LEAST_GROUPS, groups + 1) if options.least_bits % count == 0
    ]
    asked = [count for count in possible if count >= options.carriers]
    return asked or possible[-1:]


def neurons_needed(options: MarkSettings, carriers: int) -> int:
    """With fewer neurons the bits of one carrier class do not fit.

    Examples:
        >>> neurons_needed(MarkSettings(bits=128), 4)
        48
    """
    return math.ceil(_LEAST_NEURONS_PER_BIT * options.least_bits / carriers)


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
    model: "TappedModel",
    data: LabelledData,
    digests: NDArray[np.uint8],
    options: MarkSettings,
    device: "torch.device | str" = "cpu",
) -> Grouping:
    """Finds the group of every training sample.

    A classifier's groups are its classes, when those with enough different samples to draw triggers
    from can carry all bits in this layer: in a narrow one each has room for few. Else at most 10
    components are fitted, and fewer until `options.carriers` of them have enough; when no number of
    components gives as many, the one that gives most.

    Args:
        model: The unmarked parent.
        data: The training samples.
        digests: uint8 [samples, 32], of the samples: the order of the data does not matter.
        options: Says how many groups are wanted, and how many samples in each.
        device: Where the model runs.

    Raises:
        DataError: There are too few different samples for two groups.
        UnmarkableError: The layer gives NaN, or the same for every sample.
    """
    from deepsigns_registry.watermark.tapped import run_batched

    first = first_by_digest(digests)
    if data.task == "classification":
        neurons = run_batched(model, data.inputs[:2], device)[1].shape[1]
        counts = carrier_counts(options, _large(data.labels[first], options))
        if counts and neurons >= neurons_needed(options, counts[-1]):
            return Grouping(data.labels.astype(np.int64), np.zeros(len(data), dtype=np.bool_))
    elif options.carriers > MOST_COMPONENTS:
        raise DataError(
            f"{options.carriers} carriers: the samples of a model without classes form at most "
            f"{MOST_COMPONENTS} groups",
            advice=f"lower carriers to {MOST_COMPONENTS} or less",
        )
    least = LEAST_GROUPS * options.triggers_per_class
    if len(first) < least:
        raise DataError(
            f"train: {len(first)} different samples; {LEAST_GROUPS} groups of "
            f"{options.triggers_per_class} need at least {least}",
            advice="train with more samples",
        )
    activation = run_batched(model, data.inputs, device)[1]
    _check_activation(model.tap, activation)
    return _components(model.tap, activation, first, options)


def _components(
    tap: str, activation: NDArray[np.float32], first: NDArray[np.int64], options: MarkSettings
) -> Grouping:
    fitted = activation[first[:_FITTED_SAMPLES]]
    best, most = None, 0
    for components in range(MOST_COMPONENTS, LEAST_GROUPS - 1, -1):
        shares = Mixture.fit(fitted, components).log_shares(activation)
        labels = shares.argmax(axis=1).astype(np.int64)
        enough = _large(labels[first], options)
        if enough > most:
            ordered = np.sort(shares, axis=1)
            doubtful = ordered[:, -1] - ordered[:, -2] < _DOUBTFUL_NATS
            best, most = Grouping(labels, doubtful), enough
        if enough >= options.carriers:
            break
    if best is None or most < LEAST_GROUPS:
        raise DataError(
            f"the activations of layer '{tap}' form only {most} groups of "
            f"{options.triggers_per_class} different training samples, {LEAST_GROUPS} are needed",
            advice="train with more samples, or choose another layer",
            public=f"the training data forms only {most} groups of {options.triggers_per_class} "
            f"different samples, {LEAST_GROUPS} are needed; train with more samples",
        )
    return best


def _large(labels: NDArray[np.int64], options: MarkSettings) -> int:
    """How many groups have enough samples to draw triggers from."""
    return int((np.bincount(labels) >= options.triggers_per_class).sum())


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
    if data.task == "classification" and np.array_equal(manifest.labels, data.labels):
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
