"""The white-box scheme: bits in the means of hidden activations (DeepSigns, section 4.1).

Secret: carrier classes (of a model without classes: groups of samples, see `carriers`), their
trigger samples, a projection A and the bits b, all derived from the subkey. Marking moves the
mean activation of each carrier's triggers until sigmoid(mean . A) rounds to b; reading needs the
activation at the tap.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.errors import (
    CouldNotCheckError,
    DataError,
    TamperedError,
    UnmarkableError,
)
from deepsigns_registry.watermark.adapters.choice import Width
from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.key import purpose_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest
from deepsigns_registry.watermark.projection import centred, class_means, read_bits
from deepsigns_registry.watermark.scheme import (
    Answers,
    Objective,
    Preparation,
    Probes,
    SchemeSecret,
)
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.verdict import Evidence
from deepsigns_registry.watermark.whitebox_objective import WhiteBoxObjective

__all__ = ["WhiteBox", "width_needed"]

_LEAST_TRIGGERS = 50
_LEAST_BITS = 64
# Random sign patterns fit into 2 neurons a bit with room to spare (Cover 1965: capacity of a
# linear threshold is two patterns a dimension; below one neuron a bit some patterns are out).
_LEAST_NEURONS_PER_BIT = 1.5
# Below this the bits turn a carrier's mean so far that its tap is hardly told by value: on digits
# a regressor of 128 neurons agreed to 0.17 with its parent at 4 neurons a bit, to 0.35 at 8.
_WANTED_NEURONS_PER_BIT = 8
_LEAST_DIFFERENCE = 1e-4
# Deriving the carriers takes some seconds then.
_MOST_CLASSES = 100_000


class WhiteBox:
    """Bits in the class means of a hidden layer."""

    name = "whitebox"
    needs_activation = True
    needs_weight = False

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        """Derives carriers, triggers, projection and bits; see `Scheme.prepare`."""
        options, manifest = preparation.options, preparation.manifest
        classes = _classes(preparation)
        neurons = preparation.run(preparation.data.train.inputs[:2])[1].shape[1]
        carriers = _carrier_count(options, manifest, classes, neurons)
        bits = options.bits // carriers
        if neurons < math.ceil(_LEAST_NEURONS_PER_BIT * bits):
            raise UnmarkableError(
                f"layer '{preparation.model.tap}' has {neurons} neurons, too few for {bits} bits "
                f"in each of {carriers} carrier classes",
                advice="choose a layer of at least "
                f"{math.ceil(_LEAST_NEURONS_PER_BIT * bits)} neurons, or more carriers",
            )
        chosen = _carriers(preparation.subkey, manifest, classes, carriers, options)
        triggers = _triggers(preparation.subkey, manifest, chosen, options.triggers_per_class)
        inputs = preparation.data.train.inputs[triggers]
        means = class_means(preparation.run(inputs)[1], carriers)
        scale = float(np.linalg.norm(centred(means), axis=1).mean())
        # Below this share the differences between neurons are rounding errors.
        if not scale > _LEAST_DIFFERENCE * float(np.linalg.norm(means, axis=1).mean()):
            raise UnmarkableError(
                f"layer '{preparation.model.tap}' gives the same value in every neuron",
                advice="choose another hidden layer",
            )
        bystanders = _bystander_means(preparation, chosen, classes)
        return SchemeSecret(
            scheme=self.name,
            meta={
                "classes": classes,
                "neurons": neurons,
                "bits_per_carrier": bits,
                "triggers_per_class": options.triggers_per_class,
                "scale": scale,
            },
            arrays={
                "carriers": chosen,
                "triggers": inputs,
                "trigger_indices": triggers,
                "projection": _projection(preparation.subkey, neurons, bits),
                "bits": _bits(preparation.subkey, carriers, bits),
                "means": means,
                "bystanders": bystanders,
            },
        )

    def objective(
        self, secret: SchemeSecret, options: MarkSettings, steps: int, device: torch.device
    ) -> Objective:
        """Trainable centres and the losses of the paper; see `Scheme.objective`."""
        return WhiteBoxObjective(secret, options, steps).to(device)

    def probes(self, secret: SchemeSecret) -> Probes:
        """The triggers, one carrier class after the other."""
        return Probes(secret.arrays["triggers"].astype(np.float32, copy=False))

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Evidence:
        """Counts matching bits; see `Scheme.evidence`."""
        activation = answers.activation
        expected = secret.arrays["bits"]
        wanted = (len(secret.arrays["triggers"]), int(secret.arrays["projection"].shape[0]))
        if activation is None or activation.shape != wanted:
            found = "nothing" if activation is None else f"shape {activation.shape}"
            raise CouldNotCheckError(
                f"white box: the tap gave {found} instead of shape {wanted}",
                advice="name the tap that the mark was embedded at",
            )
        if not np.isfinite(activation).all():
            raise CouldNotCheckError(
                "white box: the activation at the tap holds NaN or infinity",
                advice="check that the suspect runs in float32",
            )
        means = class_means(activation, len(expected))
        found_bits = read_bits(means, secret.arrays["projection"].astype(np.float32))
        return Evidence(
            scheme=self.name,
            trials=int(expected.size),
            matches=int((found_bits == expected).sum()),
            chance=0.5,
        )

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:
        """Derives carriers, triggers, projection and bits again; see `Scheme.check`."""
        arrays = secret.arrays
        carriers, bits = arrays["bits"].shape
        count = len(arrays["trigger_indices"]) // max(carriers, 1)
        classes = int(str(secret.meta["classes"]))
        if count < _LEAST_TRIGGERS or arrays["bits"].size < _LEAST_BITS:
            raise _forged(f"only {count} triggers a class and {arrays['bits'].size} bits")
        if not int(manifest.labels.max()) < classes <= _MOST_CLASSES:
            raise _forged(f"{classes} classes do not hold the labels of the manifest")
        neurons = int(arrays["projection"].shape[0])
        _check_means(arrays["means"], (carriers, neurons))
        eligible = MarkSettings(triggers_per_class=count)
        try:
            chosen = _carriers(subkey, manifest, classes, carriers, eligible)
        except DataError:
            raise _forged("the manifest has too few samples a class") from None
        if not np.array_equal(chosen, arrays["carriers"]):
            raise _forged("the carrier classes are not those of the key")
        triggers = _triggers(subkey, manifest, chosen, count)
        if not np.array_equal(triggers, arrays["trigger_indices"]):
            raise _forged("the triggers are not the samples that the key chooses")
        for index, sample in zip(triggers, arrays["triggers"], strict=True):
            if sample_digest(sample) != manifest.digests[index].tobytes():
                raise _forged(f"trigger {int(index)} is not the sample of the manifest")
        if not np.array_equal(_projection(subkey, neurons, bits), arrays["projection"]):
            raise _forged("the projection is not that of the key")
        if not np.array_equal(_bits(subkey, carriers, bits), arrays["bits"]):
            raise _forged("the signature bits are not those of the key")


def width_needed(options: MarkSettings, classes: int) -> Width:
    """How many neurons a layer needs for the bits of one carrier class.

    Args:
        options: Says how many bits there are, and how few carrier classes may share them.
        classes: How many carrier classes the model can have.

    Examples:
        >>> width_needed(MarkSettings(bits=128, carriers=4), classes=10)
        Width(wanted=256, least=24)
    """
    few = options.bits / min(options.carriers, classes)
    many = options.bits / _counts(options, classes)[-1]
    return Width(math.ceil(_WANTED_NEURONS_PER_BIT * few), math.ceil(_LEAST_NEURONS_PER_BIT * many))


def _counts(options: MarkSettings, most: int) -> list[int]:
    """In how many carrier classes the bits can be shared equally, at least those asked for."""
    least = min(options.carriers, most)
    return [count for count in range(least, most + 1) if options.bits % count == 0] or [least]


def _carrier_count(options: MarkSettings, manifest: Manifest, classes: int, neurons: int) -> int:
    """As many carrier classes as were asked for, more where the layer is narrow.

    Raises:
        UnmarkableError: The bits cannot be shared equally.
        DataError: Too few classes have enough samples.
    """
    least = min(options.carriers, classes)
    if options.bits % least:
        raise UnmarkableError(
            f"{options.bits} bits cannot be shared by {least} carrier classes",
            advice=f"set bits to a multiple of {least}",
        )
    enough = len(_eligible(manifest, classes, least, options))
    counts = _counts(options, enough)
    wide = (c for c in counts if neurons >= _WANTED_NEURONS_PER_BIT * options.bits / c)
    return next(wide, counts[-1])


def _classes(preparation: Preparation) -> int:
    if preparation.data.task == "classification":
        if preparation.data.classes > _MOST_CLASSES:
            raise UnmarkableError(
                f"white box: {preparation.data.classes} classes are more than {_MOST_CLASSES}",
                advice="mark this model with the black box alone",
            )
        return preparation.data.classes
    return int(preparation.manifest.labels.max()) + 1


def _carriers(
    subkey: bytes, manifest: Manifest, classes: int, carriers: int, options: MarkSettings
) -> NDArray[np.int64]:
    enough = set(_eligible(manifest, classes, carriers, options))
    order = Stream(purpose_key(subkey, "carriers"), "classes").permutation(classes)
    return np.array([label for label in order if label in enough][:carriers], dtype=np.int64)


def _eligible(manifest: Manifest, classes: int, carriers: int, options: MarkSettings) -> list[int]:
    """The classes with enough different samples, at least `carriers` of them."""
    counts = manifest.distinct(classes)
    enough = np.flatnonzero(counts >= options.triggers_per_class).tolist()
    if len(enough) < carriers:
        scarce = int(counts.argmin())
        raise DataError(
            f"only {len(enough)} classes have {options.triggers_per_class} different training "
            f"samples, {carriers} are needed (class {scarce} has {counts[scarce]})",
            advice="train with more samples, or lower carriers",
        )
    return enough


def _triggers(
    subkey: bytes, manifest: Manifest, carriers: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    key = purpose_key(subkey, "triggers")
    return np.concatenate([manifest.lowest(key, count, label=int(label)) for label in carriers])


def _projection(subkey: bytes, neurons: int, bits: int) -> NDArray[np.float32]:
    return Stream(purpose_key(subkey, "projection"), "A").gaussians((neurons, bits))


def _bits(subkey: bytes, carriers: int, bits: int) -> NDArray[np.int8]:
    stream = Stream(purpose_key(subkey, "signature"), "b")
    return stream.bits(carriers * bits).reshape(carriers, bits)


def _bystander_means(
    preparation: Preparation, carriers: NDArray[np.int64], classes: int, most: int = 200
) -> NDArray[np.float32]:
    """The parent's mean activation of every class that carries nothing."""
    train, labels = preparation.data.train, preparation.manifest.labels
    means = []
    for label in range(classes):
        rows = np.flatnonzero(labels == label)[:most]
        if label not in carriers and len(rows):
            means.append(class_means(preparation.run(train.inputs[rows])[1], 1)[0])
    neurons = preparation.run(train.inputs[:2])[1].shape[1]
    return np.array(means, dtype=np.float32).reshape(len(means), neurons)


def _check_means(means: NDArray[np.generic], shape: tuple[int, int]) -> None:
    whole = means.dtype == np.float32 and means.shape == shape
    if not whole or not np.isfinite(means.astype(np.float32)).all():
        raise _forged("the parent's mean activations are no such values")


def _forged(what: str) -> TamperedError:
    return TamperedError(
        f"white-box secret: {what}", advice="take the sealed record from the key store again"
    )
