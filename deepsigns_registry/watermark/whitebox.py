"""The white-box scheme: bits in the means of hidden activations (DeepSigns, section 4.1).

Secret: carrier classes (of a model without classes: groups of samples, see `carriers`), their
trigger samples, a projection A and the bits b, all derived from the subkey. The bits are drawn from
the parent's blueprint too: whoever makes up an order in which a suspect's neurons are read draws
all of them anew. Marking moves the
mean activation of each carrier's triggers until sigmoid(mean . A) rounds to b; reading needs the
activation at the tap.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import (
    CouldNotCheckError,
    DataError,
    TamperedError,
    UnmarkableError,
)
from deepsigns_registry.watermark.adapters.choice import Width
from deepsigns_registry.watermark.carriers import (
    LEAST_GROUPS,
    MOST_COMPONENTS,
    carrier_counts,
    neurons_needed,
)
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.key import key_version, purpose_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest
from deepsigns_registry.watermark.projection import centred, class_means, read_bits
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Preparation,
    Probes,
    SchemeSecret,
)
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tap import Layout, TapAgreement, compare_taps

if TYPE_CHECKING:
    from deepsigns_registry.watermark.objective import Objective

__all__ = ["WhiteBox", "width_needed"]

_LEAST_TRIGGERS = 50
_LEAST_BITS = 64
# To give k bits a margin, a mean of d neurons moves by sqrt(d / (d - k)) times what it would in a
# very wide layer: 7% more at 8 neurons a bit, 41% at 2. Up to here more carrier classes are used.
_WANTED_NEURONS_PER_BIT = 8
# So many times its triggers a class has samples: of few, the triggers are learned by heart.
_PLENTY = 10
# Of a signature that grows with its layer. 1,280 bits on ten carriers of 512 neurons cost no more
# accuracy than 128 on four, and withstand more: of two perceptrons after ten epochs of fine-tuning
# log10 p was -225 and -238 instead of -35 and -38, after pruning 90% -86 and -70 instead of -13
# and -17.
_MOST_BITS_OF_A_CARRIER = 128
_LEAST_NEURONS_PER_GROWN_BIT = 4
_LEAST_DIFFERENCE = 1e-4
# What the order of a sum changes, relative and absolute.
_ROUNDING = 1e-4
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
        carriers, bits = _size(options, manifest, classes, neurons)
        if neurons < (least := neurons_needed(options, carriers)):
            raise UnmarkableError(
                f"layer '{preparation.model.tap}' has {neurons} neurons, too few for {bits} bits "
                f"in each of {carriers} carrier classes",
                advice=f"choose a layer of at least {least} neurons, or lower bits",
                public=f"{options.least_bits} bits do not fit into {neurons} neurons and "
                f"{carriers} carrier classes; lower bits",
            )
        chosen = _carriers(preparation.subkey, manifest, classes, carriers, options)
        triggers = _triggers(preparation.subkey, manifest, chosen, options.triggers_per_class)
        inputs = preparation.data.train.inputs[triggers]
        activations = preparation.run(inputs)[1]
        means = class_means(activations, carriers)
        scale = float(np.linalg.norm(centred(means), axis=1).mean())
        # Below this share the differences between neurons are rounding errors.
        if not scale > _LEAST_DIFFERENCE * float(np.linalg.norm(means, axis=1).mean()):
            raise UnmarkableError(
                f"layer '{preparation.model.tap}' gives the same value in every neuron",
                advice="choose another hidden layer",
            )
        layout = Layout(1, 1)
        if preparation.recognisable:
            from deepsigns_registry.watermark.recognised import recognised_layout

            layout = recognised_layout(
                preparation.model, inputs, activations, carriers, preparation.device
            )
        bystanders = _bystander_means(preparation, chosen, classes)
        drawn_from = _drawn_from(preparation)
        return SchemeSecret(
            scheme=self.name,
            meta={
                "classes": classes,
                "neurons": neurons,
                "bits_per_carrier": bits,
                "triggers_per_class": options.triggers_per_class,
                "scale": scale,
                "layout": [*layout],
            },
            arrays={
                "carriers": chosen,
                "triggers": inputs,
                "trigger_indices": triggers,
                "projection": _projection(preparation.subkey, neurons, bits),
                "bits": _bits(preparation.subkey, carriers, bits, drawn_from.get("blueprint")),
                "means": means,
                "activations": activations,
                "bystanders": bystanders,
                **drawn_from,
            },
        )

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> "Objective":
        """Trainable centres and the losses of the paper; see `Scheme.objective`."""
        from deepsigns_registry.watermark.whitebox_objective import WhiteBoxObjective

        return WhiteBoxObjective(secret, fitting.options, fitting.steps).to(fitting.device)

    def probes(self, secret: SchemeSecret) -> Probes:
        """The triggers, one carrier class after the other."""
        return Probes(secret.arrays["triggers"].astype(np.float32, copy=False))

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Matches:
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
        return Matches(
            scheme=self.name,
            trials=int(expected.size),
            matches=int((found_bits == expected).sum()),
            chance=0.5,
        )

    def parent_means(self, secret: SchemeSecret) -> NDArray[np.float32]:
        """Of each carrier's triggers; see `witness.KnowsTap`."""
        return secret.arrays["means"].astype(np.float32, copy=False)

    def tap_agreement(
        self, secret: SchemeSecret, activation: NDArray[np.float32]
    ) -> TapAgreement | None:
        """How a suspect's activation on the triggers compares with the parent's.

        Args:
            secret: As prepared.
            activation: float32 [triggers, neurons].

        Returns:
            None when there is nothing to compare: another shape, or a record of the first format,
            which does not hold the parent's activations.
        """
        reference = secret.arrays.get("activations")
        if reference is None:
            return None
        return compare_taps(
            reference.astype(np.float32, copy=False),
            activation,
            carriers=len(secret.arrays["means"]),
            layout=_layout(secret),
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
        _check_activations(secret, (len(arrays["trigger_indices"]), neurons))
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
        _check_bits(secret, subkey)


def width_needed(options: MarkSettings, classes: int) -> Width:
    """How many neurons a layer needs for the bits of one carrier class.

    Args:
        options: Says how many bits there are, and how few carrier classes may share them.
        classes: How many classes the model has; of another task one.

    Examples:
        >>> width_needed(MarkSettings(bits=128, carriers=4), classes=10)
        Width(wanted=256, least=24)
    """
    # Where classes do not suffice the samples are grouped otherwise.
    counts = carrier_counts(options, max(classes, MOST_COMPONENTS)) or [LEAST_GROUPS]
    wanted = math.ceil(_WANTED_NEURONS_PER_BIT * options.least_bits / counts[0])
    return Width(wanted, neurons_needed(options, counts[-1]))


def _size(options: MarkSettings, manifest: Manifest, classes: int, neurons: int) -> tuple[int, int]:
    """How many carrier classes there are, and how many bits in each.

    As many classes as were asked for, more where the layer is narrow, fewer where fewer have enough
    samples. Where no number of bits was asked for and samples are plenty, as many of both as there
    is room for.

    Raises:
        UnmarkableError: The bits cannot be shared equally.
        DataError: Too few classes have enough samples.
    """
    enough = len(_eligible(manifest, classes, LEAST_GROUPS, options))
    if options.bits is None:
        plenty = int((manifest.distinct(classes) >= _PLENTY * options.triggers_per_class).sum())
        carriers = min(plenty, options.most_carriers)
        bits = min(_MOST_BITS_OF_A_CARRIER, neurons // _LEAST_NEURONS_PER_GROWN_BIT)
        if carriers >= options.carriers and carriers * bits > options.least_bits:
            return carriers, bits
    if enough >= options.carriers and options.least_bits % options.carriers:
        raise UnmarkableError(
            f"{options.least_bits} bits cannot be shared by {options.carriers} carrier classes",
            advice=f"set bits to a multiple of {options.carriers}",
        )
    counts = carrier_counts(options, enough)
    if not counts:
        raise UnmarkableError(
            f"{options.least_bits} bits cannot be shared by {enough} carrier classes",
            advice=f"set bits to a multiple of {LEAST_GROUPS}",
        )
    wide = (c for c in counts if neurons >= _WANTED_NEURONS_PER_BIT * options.least_bits / c)
    carriers = next(wide, counts[-1])
    return carriers, options.least_bits // carriers


def _classes(preparation: Preparation) -> int:
    groups = int(preparation.manifest.labels.max()) + 1
    if preparation.data.task != "classification":
        return groups
    if preparation.data.classes > _MOST_CLASSES:
        raise UnmarkableError(
            f"white box: {preparation.data.classes} classes are more than {_MOST_CLASSES}",
            advice="mark this model with the black box alone",
        )
    # A classifier's samples may be in other groups than its classes, and in more.
    return max(preparation.data.classes, groups)


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
            advice="train with more samples",
        )
    return enough


def _triggers(
    subkey: bytes, manifest: Manifest, carriers: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    key = purpose_key(subkey, "triggers")
    return np.concatenate([manifest.lowest(key, count, label=int(label)) for label in carriers])


def _projection(subkey: bytes, neurons: int, bits: int) -> NDArray[np.float32]:
    return Stream(purpose_key(subkey, "projection"), "A").gaussians((neurons, bits))


def _drawn_from(preparation: Preparation) -> dict[str, NDArray[np.generic]]:
    """The digest of the blueprint; nothing of a secret of version 0 that is prepared again."""
    given = preparation.given
    if given is not None and "blueprint" not in given.arrays:
        return {}
    return {"blueprint": np.frombuffer(preparation.blueprint.digest(), dtype=np.uint8)}


def _bits(
    subkey: bytes, carriers: int, bits: int, blueprint: NDArray[np.generic] | None
) -> NDArray[np.int8]:
    label = "b" if blueprint is None else f"b {blueprint.tobytes().hex()}"
    stream = Stream(purpose_key(subkey, "signature"), label)
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


def _check_bits(secret: SchemeSecret, subkey: bytes) -> None:
    """Of version 0 some are not drawn from a blueprint."""
    expected, blueprint = secret.arrays["bits"], secret.arrays.get("blueprint")
    if blueprint is None and key_version(secret.meta):
        raise _forged("the blueprint that its bits are drawn from is missing")
    carriers, bits = expected.shape
    if not np.array_equal(_bits(subkey, carriers, bits, blueprint), expected):
        raise _forged("the signature bits are not those of the key")


def _check_means(means: NDArray[np.generic], shape: tuple[int, int]) -> None:
    whole = means.dtype == np.float32 and means.shape == shape
    if not whole or not np.isfinite(means.astype(np.float32)).all():
        raise _forged("the parent's mean activations are no such values")


def _layout(secret: SchemeSecret) -> Layout:
    """Where the channels of the tap stand.

    Raises:
        TamperedError: The secret does not say.
    """
    match secret.meta.get("layout"):
        case [int(outer), int(inner)] if outer > 0 and inner > 0:
            return Layout(outer, inner)
    raise _forged("where the channels of the tap stand is missing")


def _check_activations(secret: SchemeSecret, shape: tuple[int, int]) -> None:
    """Of version 0 some have none: then no tap is told by value."""
    activations = secret.arrays.get("activations")
    if activations is None and not key_version(secret.meta):
        return
    if activations is None:
        raise _forged("the parent's activations are missing")
    whole = activations.dtype == np.float32 and activations.shape == shape
    if not whole or not np.isfinite(activations.astype(np.float32)).all():
        raise _forged("the parent's activations are no such values")
    means = class_means(activations.astype(np.float32), len(secret.arrays["means"]))
    if not np.allclose(means, secret.arrays["means"], rtol=_ROUNDING, atol=_ROUNDING):
        raise _forged("the parent's activations do not have the means that the secret holds")
    layout = _layout(secret)
    if shape[1] % (layout.outer * layout.inner):
        raise _forged(f"{shape[1]} neurons are no channels of {layout.outer} x {layout.inner}")


def _forged(what: str) -> TamperedError:
    return TamperedError(
        f"white-box secret: {what}", advice="take the sealed record from the key store again"
    )
