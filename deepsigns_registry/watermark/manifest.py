"""The list of all training samples, and what a key chooses from it.

The triggers of a watermark are not chosen by anybody: they are the samples with the lowest
pseudo-random value under the key. The manifest's root stands in the signed attestation, so
that the choice can be derived again long after the data is gone.
"""

import hashlib
import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import TamperedError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.expand import encode
from deepsigns_registry.watermark.key import prf

__all__ = ["Manifest", "sample_digest"]

_LEAF, _NODE = b"\x00", b"\x01"


def sample_digest(sample: NDArray[np.generic]) -> bytes:
    """SHA-256 over a sample's canonical bytes.

    Canonical is: the type's name, the shape, and the values in C order, little-endian.

    Args:
        sample: One sample, without the batch dimension.

    Returns:
        32 bytes, the same on every platform.
    """
    return next(_sample_digests(sample[None]))


@dataclass(frozen=True)
class Manifest:
    """Digest and carrier class of every training sample.

    Attributes:
        digests: uint8 [samples, 32], in the order of the data.
        labels: int64 [samples], the class of each; for data without classes the group that
            `carriers.group_samples` found.
    """

    digests: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.digests.ndim != 2 or self.digests.shape != (len(self.labels), 32):
            raise TamperedError(
                f"manifest: digests of shape {self.digests.shape} for {len(self.labels)} labels",
                advice="take the record from the key store again",
            )

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, data: LabelledData) -> "Manifest":
        """The manifest of these samples; see `with_labels` for data without classes."""
        joined = b"".join(_sample_digests(data.inputs))
        digests = np.frombuffer(joined, dtype=np.uint8).reshape(len(data), 32)
        classes = data.labels if data.task == "classification" else np.zeros(len(data))
        return cls(digests, np.asarray(classes, dtype=np.int64))

    def with_labels(self, labels: NDArray[np.int64]) -> "Manifest":
        """The same samples in these carrier classes: int64 [samples]."""
        return replace(self, labels=labels)

    @property
    def root(self) -> str:
        """Merkle root (RFC 6962 section 2.1), hexadecimal.

        The leaves are digest and label, sorted: a loader that shuffles gives the same root.
        """
        leaves = sorted(
            digest.tobytes() + int(label).to_bytes(8, "little", signed=True)
            for digest, label in zip(self.digests, self.labels, strict=True)
        )
        level = [hashlib.sha256(_LEAF + leaf).digest() for leaf in leaves]
        if not level:
            return hashlib.sha256().hexdigest()
        # Pairing from the left and carrying an odd last node up unchanged gives RFC 6962's tree.
        while len(level) > 1:
            paired = [
                hashlib.sha256(_NODE + left + right).digest()
                for left, right in zip(level[::2], level[1::2], strict=False)
            ]
            level = paired + level[2 * len(paired) :]
        return level[0].hex()

    def distinct(self, label: int) -> int:
        """Number of different samples of one class."""
        return len(np.unique(self.digests[self.labels == label], axis=0))

    def lowest(self, key: bytes, count: int, *, label: int | None = None) -> NDArray[np.int64]:
        """The samples that a key chooses: those with the lowest PRF of their digest.

        Args:
            key: 32 bytes.
            count: How many; duplicates of a sample count once.
            label: Choose among this class only.

        Returns:
            Indices into the manifest, int64 [at most count], lowest PRF first.
        """
        among = np.arange(len(self)) if label is None else np.flatnonzero(self.labels == label)
        chosen = self.digests[among].tobytes()
        # From the back, so that the first of several equal samples stands in the end.
        first = {
            chosen[32 * place : 32 * place + 32]: int(among[place])
            for place in range(len(among) - 1, -1, -1)
        }
        ranked = heapq.nsmallest(count, ((prf(key, digest), at) for digest, at in first.items()))
        return np.array([index for _, index in ranked], dtype=np.int64)


def _sample_digests(samples: NDArray[np.generic]) -> Iterator[bytes]:
    """`sample_digest` of each; what all samples share is hashed once."""
    little = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<"))
    rows = little.reshape(len(samples), math.prod(samples.shape[1:]))
    shape = ",".join(str(length) for length in samples.shape[1:])
    size = rows.shape[1] * rows.itemsize
    header = encode(samples.dtype.name.encode(), shape.encode()) + size.to_bytes(8, "big")
    shared = hashlib.sha256(header)
    for row in rows:
        digest = shared.copy()
        digest.update(row.data)
        yield digest.digest()
