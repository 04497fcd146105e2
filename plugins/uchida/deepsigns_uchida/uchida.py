"""Bits in the weights of a layer (Uchida et al., ICMR 2017, arXiv 1701.04082, section 3.2).

The layer's weight is averaged over its neurons (output channels) and flattened to a vector w.
The secret is a matrix X of standard normal numbers and the bits b; sigmoid(X w) rounds to b in
a marked model. Both are derived from the scheme's subkey, so that the matching bits of any
model that does not depend on the key are exactly Binomial(bits, 1/2).
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError, TamperedError, UnmarkableError
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.key import purpose_key
from deepsigns_registry.watermark.manifest import Manifest, sample_digest
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Preparation,
    Probes,
    SchemeSecret,
)

if TYPE_CHECKING:
    from deepsigns_registry.watermark.objective import Objective

__all__ = ["Uchida"]

_LEAST_BITS = 64
# A suspect is run on so many samples before its weight is read: enough to learn that it runs.
_PROBES = 2
# Below one value a bit, X w cannot take every pattern of signs. Measured on Fashion-MNIST (MLP,
# 512 values, 300 steps): no error at 2 and at 1.5 values a bit, 11 errors of 512 at one.
_VALUES_PER_BIT = 1.5


class Uchida:
    """Bits in the mean weight of the layer behind the tap.

    Args:
        strength: Weight of the regulariser (the paper's lambda). Measured as above, 128 bits:
            from 0.1 to 100 no error and the same accuracy; the worst bit's margin grows from
            0.4 to 3, and errors after pruning 90% of the layer grow from 0 to 13.
    """

    name = "uchida"
    needs_activation = False
    needs_weight = True

    def __init__(self, strength: float = 10.0) -> None:
        self._strength = strength

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        """Derives the key matrix and the bits; see `Scheme.prepare`."""
        bits, tap = preparation.options.least_bits, preparation.model.tap
        indices = _probes(preparation.subkey, preparation.manifest)
        inputs = preparation.data.train.inputs[indices]
        preparation.run(inputs)
        weight = preparation.model.tap_weight()
        if weight is None:
            raise UnmarkableError(
                f"uchida: no one layer with a weight computes '{tap}'",
                advice="choose the output of a linear or convolution layer, or its activation",
            )
        values = mean_weight(weight.detach().float().cpu().numpy())
        wanted = math.ceil(_VALUES_PER_BIT * bits)
        if len(values) < wanted:
            raise UnmarkableError(
                f"uchida: each neuron of '{tap}' has {len(values)} weights, too few for "
                f"{bits} bits",
                advice=f"choose a layer with at least {wanted} weights a neuron, or fewer bits",
            )
        return SchemeSecret(
            scheme=self.name,
            arrays={
                "matrix": _matrix(preparation.subkey, bits, len(values)),
                "bits": _bits(preparation.subkey, bits),
                "probes": inputs,
                "probe_indices": indices,
            },
        )

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> "Objective":
        """The regulariser of the paper; see `Scheme.objective`."""
        from deepsigns_uchida.objective import UchidaObjective

        return UchidaObjective(secret, self._strength).to(fitting.device)

    def probes(self, secret: SchemeSecret) -> Probes:
        """Two samples, and the weight behind the tap."""
        inputs = secret.arrays["probes"].astype(np.float32, copy=False)
        return Probes(inputs)

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Matches:
        """Counts matching bits; see `Scheme.evidence`."""
        expected = secret.arrays["bits"]
        matrix = secret.arrays["matrix"].astype(np.float64)
        if answers.weight is None:
            raise CouldNotCheckError(
                "uchida: the suspect shows no weight behind the tap",
                advice="name the tap that the mark was embedded at, in a file with its weights",
            )
        values = mean_weight(answers.weight)
        if len(values) != matrix.shape[1]:
            raise CouldNotCheckError(
                f"uchida: the weight behind the tap has {len(values)} values a neuron instead "
                f"of {matrix.shape[1]}",
                advice="name the tap that the mark was embedded at",
            )
        if not np.isfinite(values).all():
            raise CouldNotCheckError(
                "uchida: the weight behind the tap holds NaN or infinity",
                advice="check that the suspect works",
            )
        found = matrix @ values > 0
        return Matches(
            scheme=self.name,
            trials=int(expected.size),
            matches=int((found == expected).sum()),
            chance=0.5,
        )

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:
        """Derives the key matrix and the bits again; see `Scheme.check`."""
        arrays = secret.arrays
        bits, length = arrays["matrix"].shape
        if bits < _LEAST_BITS:
            raise _forged(f"only {bits} bits")
        if not np.array_equal(_matrix(subkey, bits, length), arrays["matrix"]):
            raise _forged("the matrix is not that of the key")
        if not np.array_equal(_bits(subkey, bits), arrays["bits"]):
            raise _forged("the bits are not those of the key")
        indices = _probes(subkey, manifest)
        if not np.array_equal(indices, arrays["probe_indices"]):
            raise _forged("the probes are not the samples that the key chooses")
        for index, sample in zip(indices, arrays["probes"], strict=True):
            if sample_digest(sample) != manifest.digests[index].tobytes():
                raise _forged(f"probe {int(index)} is not the sample of the manifest")


def mean_weight(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """The paper's vector w: the mean over neurons, flattened.

    Args:
        weight: float32 [neurons, ...].

    Returns:
        float64 [values].

    Examples:
        >>> mean_weight(np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)).tolist()
        [2.0, 4.0]
    """
    return np.asarray(weight.mean(axis=0, dtype=np.float64)).reshape(-1)


def _matrix(subkey: bytes, bits: int, length: int) -> NDArray[np.float32]:
    return Stream(purpose_key(subkey, "projection"), "X").gaussians((bits, length))


def _bits(subkey: bytes, bits: int) -> NDArray[np.int8]:
    return Stream(purpose_key(subkey, "signature"), "b").bits(bits)


def _probes(subkey: bytes, manifest: Manifest) -> NDArray[np.int64]:
    return manifest.lowest(purpose_key(subkey, "probes"), _PROBES)


def _forged(what: str) -> TamperedError:
    return TamperedError(
        f"uchida secret: {what}", advice="take the sealed record from the key store again"
    )
