"""The white-box scheme: bits in the means of hidden activations (DeepSigns, section 4.1).

Secret: carrier classes, their trigger samples, a projection A and the bits b, all derived
from the subkey. Marking moves the mean activation of each carrier's triggers until
sigmoid(mean . A) rounds to b; reading needs the activation at the tap.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepsigns_registry.errors import (
    CouldNotCheckError,
    DataError,
    TamperedError,
    UnmarkableError,
)
from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.key import purpose_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest
from deepsigns_registry.watermark.projection import centred, class_means, projected, read_bits
from deepsigns_registry.watermark.scheme import Objective, Preparation, Probes, SchemeSecret
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import Tapped
from deepsigns_registry.watermark.verdict import Evidence

__all__ = ["WhiteBox"]

_LEAST_TRIGGERS = 50
_LEAST_BITS = 64
# Random sign patterns fit into 2 neurons a bit with room to spare (Cover 1965: capacity of a
# linear threshold is two patterns a dimension; below one neuron a bit some patterns are out).
_NEURONS_PER_BIT = 1.5


class WhiteBox:
    """Bits in the class means of a hidden layer."""

    name = "whitebox"

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        """Derives carriers, triggers, projection and bits; see `Scheme.prepare`."""
        options, manifest = preparation.options, preparation.manifest
        classes = preparation.data.classes
        carriers = min(options.carriers, classes)
        bits = options.bits // carriers
        if bits * carriers != options.bits:
            raise UnmarkableError(
                f"{options.bits} bits cannot be shared by {carriers} carrier classes",
                advice=f"set bits to a multiple of {carriers}",
            )
        probe = preparation.run(preparation.data.train.inputs[:2])[1]
        neurons = probe.shape[1]
        if neurons < _NEURONS_PER_BIT * bits:
            raise UnmarkableError(
                f"layer '{preparation.model.tap}' has {neurons} neurons, too few for {bits} bits "
                f"in each of {carriers} carrier classes",
                advice=f"choose a layer of at least {int(_NEURONS_PER_BIT * bits)} neurons, "
                "or more carriers",
            )
        chosen = _carriers(preparation.subkey, manifest, classes, carriers, options)
        triggers = _triggers(preparation.subkey, manifest, chosen, options.triggers_per_class)
        inputs = preparation.data.train.inputs[triggers]
        means = class_means(preparation.run(inputs)[1], carriers)
        scale = float(np.linalg.norm(centred(means), axis=1).mean())
        if not np.isfinite(means).all() or scale < 1e-6:
            raise UnmarkableError(
                f"layer '{preparation.model.tap}' gives the same value in every neuron",
                advice="choose another hidden layer",
            )
        bystanders = _bystander_means(preparation, chosen)
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
        return _WhiteBoxObjective(secret, options, steps).to(device)

    def probes(self, secret: SchemeSecret) -> Probes:
        """The triggers, one carrier class after the other."""
        return Probes(secret.arrays["triggers"].astype(np.float32, copy=False), True)

    def evidence(
        self,
        secret: SchemeSecret,
        outputs: NDArray[np.float32],  # noqa: ARG002 - the mark is not in the outputs
        activation: NDArray[np.float32] | None,
    ) -> Evidence:
        """Counts matching bits; see `Scheme.evidence`."""
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
        if classes <= int(manifest.labels.max()):
            raise _forged(f"{classes} classes do not hold the labels of the manifest")
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
        neurons = int(arrays["projection"].shape[0])
        if not np.array_equal(_projection(subkey, neurons, bits), arrays["projection"]):
            raise _forged("the projection is not that of the key")
        if not np.array_equal(_bits(subkey, carriers, bits), arrays["bits"]):
            raise _forged("the signature bits are not those of the key")


class _WhiteBoxObjective(Objective):
    """loss1 and loss2 over the triggers that a step sees, and over its training batch."""

    carriers: Tensor
    triggers: Tensor
    trigger_labels: Tensor
    projection: Tensor
    signs: Tensor
    bystanders: Tensor
    distances: Tensor

    def __init__(self, secret: SchemeSecret, options: MarkSettings, steps: int) -> None:
        super().__init__()
        arrays = secret.arrays
        carriers = torch.from_numpy(arrays["carriers"].astype(np.int64))
        triggers = torch.from_numpy(arrays["triggers"].astype(np.float32))
        means = torch.from_numpy(arrays["means"].astype(np.float32))
        bystanders = torch.from_numpy(arrays["bystanders"].astype(np.float32))
        self._options = options
        self._scale = float(str(secret.meta["scale"]))
        # Every step needs some triggers of each carrier to estimate its mean.
        wanted = -(-len(triggers) * options.repeats // steps)
        self._sample = min(max(wanted, 4 * len(carriers)), len(triggers), options.batch_size)
        self.centres = nn.Parameter(means.clone())
        self.register_buffer("carriers", carriers)
        self.register_buffer("triggers", triggers)
        per_class = len(triggers) // len(carriers)
        self.register_buffer("trigger_labels", carriers.repeat_interleave(per_class))
        self.register_buffer(
            "projection", torch.from_numpy(arrays["projection"].astype(np.float32))
        )
        self.register_buffer("signs", torch.from_numpy(arrays["bits"].astype(np.float32)) * 2 - 1)
        self.register_buffer("bystanders", bystanders)
        self.register_buffer("distances", torch.cdist(means, bystanders).square())

    def samples(self, step_generator: torch.Generator) -> tuple[Tensor, Tensor]:
        per_class = len(self.triggers) // len(self.carriers)
        each = max(1, self._sample // len(self.carriers))
        rows = torch.cat(
            [
                carrier * per_class + torch.randperm(per_class, generator=step_generator)[:each]
                for carrier in range(len(self.carriers))
            ]
        ).to(self.triggers.device)
        return self.triggers[rows], self.trigger_labels[rows]

    def loss(
        self,
        batch: Tapped,
        batch_labels: Tensor,
        samples: Tapped | None,
        sample_labels: Tensor | None,
    ) -> Tensor:
        assert samples is not None  # noqa: S101 - the loop gives what `samples` returned
        assert sample_labels is not None  # noqa: S101
        triggers = samples.activation.reshape(len(self.carriers), -1, samples.activation.shape[-1])
        loss1 = (triggers - self.centres[:, None]).square().sum(-1).mean()
        matches = batch_labels[:, None] == self.carriers
        if matches.any():
            rows, owners = matches.nonzero(as_tuple=True)
            away = batch.activation[rows] - self.centres[owners]
            loss1 = loss1 + away.square().sum(-1).mean()
        # The paper subtracts the distances between centres, which has no lower bound; here the
        # centres are only held as far apart as the parent had them.
        if len(self.bystanders):
            apart = torch.cdist(self.centres, self.bystanders).square()
            loss1 = loss1 + functional.relu(self.distances - apart).mean()
        read = torch.cat([self.centres, triggers.mean(dim=1)])
        z = projected(read, self.projection) * self.signs.repeat(2, 1) / self._scale
        # The paper's cross-entropy on a clamped sigmoid has no gradient where it is most wrong.
        # A squared hinge pulls the worst bits hardest and stops at the margin.
        loss2 = functional.relu(self._options.margin - z).square().mean()
        weighted: Tensor = self._options.lambda1 * loss1 / self._scale**2
        return weighted + self._options.lambda2 * loss2


def _carriers(
    subkey: bytes, manifest: Manifest, classes: int, carriers: int, options: MarkSettings
) -> NDArray[np.int64]:
    counts = [manifest.distinct(label) for label in range(classes)]
    enough = [label for label in range(classes) if counts[label] >= options.triggers_per_class]
    if len(enough) < carriers:
        scarce = min(range(classes), key=lambda label: counts[label])
        raise DataError(
            f"only {len(enough)} classes have {options.triggers_per_class} different training "
            f"samples, {carriers} are needed (class {scarce} has {counts[scarce]})",
            advice="train with more samples, or lower carriers",
        )
    order = Stream(purpose_key(subkey, "carriers"), "classes").permutation(classes)
    return np.array([label for label in order if label in enough][:carriers], dtype=np.int64)


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
    preparation: Preparation, carriers: NDArray[np.int64], most: int = 200
) -> NDArray[np.float32]:
    """The parent's mean activation of every class that carries nothing."""
    train = preparation.data.train
    means = []
    for label in range(preparation.data.classes):
        rows = np.flatnonzero(train.labels == label)[:most]
        if label not in carriers and len(rows):
            means.append(class_means(preparation.run(train.inputs[rows])[1], 1)[0])
    neurons = preparation.run(train.inputs[:2])[1].shape[1]
    return np.array(means, dtype=np.float32).reshape(len(means), neurons)


def _forged(what: str) -> TamperedError:
    return TamperedError(
        f"white-box secret: {what}", advice="take the sealed record from the key store again"
    )
