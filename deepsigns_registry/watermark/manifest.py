"""The list of all training samples, and what a key chooses from it.

The triggers of a watermark are not chosen by anybody: they are the samples with the lowest
pseudo-random value under the key. The manifest's root stands in the signed attestation, so
that the choice can be derived again long after the data is gone.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import TamperedError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.expand import encode
from deepsigns_registry.watermark.key import prf_each

__all__ = ["Manifest", "first_by_digest", "sample_digest"]

_LEAF, _NODE = b"\x00", b"\x01"
_LEAF_BYTES, _NODE_BYTES = 40, 64
_HASHED_AT_ONCE = 1 << 14
# Of a manifest that is read. A megabyte of repeated samples decompresses to a billion bytes.
_MOST_SAMPLES = 20_000_000


def sample_digest(sample: NDArray[np.generic]) -> bytes:
    """SHA-256 over a sample's canonical bytes.

    Canonical is: the type's name, the shape, and the values in C order, little-endian.

    Args:
        sample: One sample, without the batch dimension.

    Returns:
        32 bytes, the same on every platform.

    Examples:
        >>> sample = np.arange(3, dtype="<f4")
        >>> sample_digest(sample) == sample_digest(sample.astype(">f4"))
        True
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
        """Checks that the arrays fit together.

        Raises:
            TamperedError: They do not.
        """
        kinds = self.digests.dtype.name, self.labels.dtype.name
        if (
            kinds != ("uint8", "int64")
            or self.labels.ndim != 1
            or self.digests.shape != (len(self.labels), 32)
        ):
            raise TamperedError(
                f"manifest: {kinds[0]} digests of shape {self.digests.shape} for {kinds[1]} "
                f"labels of shape {self.labels.shape}",
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

    @classmethod
    def read(cls, digests: NDArray[np.generic], labels: NDArray[np.generic]) -> "Manifest":
        """The manifest of arrays of unknown origin.

        Raises:
            TamperedError: They do not fit together.
            TypeError: One is of another type.
            ValueError: There are more than 20 million samples.
        """
        if max(map(len, (digests, labels))) > _MOST_SAMPLES:
            raise ValueError(f"a manifest of more than {_MOST_SAMPLES} samples")
        return cls(
            digests.astype(np.uint8, casting="safe"), labels.astype(np.int64, casting="safe")
        )

    def with_labels(self, labels: NDArray[np.int64]) -> "Manifest":
        """The same samples in these carrier classes: int64 [samples]."""
        return replace(self, labels=labels)

    @cached_property
    def root(self) -> str:
        """Merkle root (RFC 6962 section 2.1), hexadecimal.

        The leaves are digest and label, sorted: a loader that shuffles gives the same root.
        """
        labels = self.labels.astype("<i8").view(np.uint8).reshape(-1, 8)
        leaves = np.ascontiguousarray(np.concatenate([self.digests, labels], axis=1))
        # Byte strings of one length: what numpy strips of them it strips of none wrongly.
        leaves.view(f"S{_LEAF_BYTES}")[:, 0].sort()
        if not len(leaves):
            return hashlib.sha256().hexdigest()
        level = _hashed(_LEAF, leaves.data.cast("B"), _LEAF_BYTES)
        # Pairing from the left and carrying an odd last node up unchanged gives RFC 6962's tree.
        while len(level) > 32:
            paired = len(level) // _NODE_BYTES * _NODE_BYTES
            view = memoryview(level)
            level = _hashed(_NODE, view[:paired], _NODE_BYTES) + view[paired:]
        return level.hex()

    def distinct(self, classes: int) -> NDArray[np.int64]:
        """Number of different samples of each class.

        Args:
            classes: Count the classes from 0 to below this one.

        Returns:
            int64 [classes].
        """
        order = np.argsort(self.labels, kind="stable")
        bounds = np.searchsorted(self.labels[order], np.arange(classes + 1))
        return np.array(
            [
                len(first_by_digest(self.digests[order[start:stop]])) if stop > start else 0
                for start, stop in itertools.pairwise(bounds)
            ],
            dtype=np.int64,
        )

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
        among = among[first_by_digest(self.digests[among])]
        chosen = self.digests[among].tobytes()
        values = prf_each(key, (chosen[at : at + 32] for at in range(0, len(chosen), 32)))
        order = np.frombuffer(values, dtype="S32").argsort(kind="stable")
        return np.asarray(among[order[:count]], dtype=np.int64)


def first_by_digest(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where each different sample stands first, by increasing digest.

    An order of the samples that nobody chooses, whatever the order of the data.

    Args:
        digests: uint8 [samples, 32].

    Returns:
        int64 [different samples].

    Examples:
        >>> digests = np.zeros((3, 32), np.uint8)
        >>> digests[0] = 7
        >>> first_by_digest(digests).tolist()
        [1, 0]
    """
    rows = np.ascontiguousarray(digests).view("S32")[:, 0]
    return np.asarray(np.unique(rows, return_index=True)[1], dtype=np.int64)


def _hashed(prefix: bytes, content: memoryview, size: int) -> bytearray:
    """SHA-256 of the prefix and of each part of this size, one after the other."""
    sha256, hashed = hashlib.sha256, bytearray()
    for start in range(0, len(content), _HASHED_AT_ONCE * size):
        chunk = bytes(content[start : start + _HASHED_AT_ONCE * size])
        hashed += b"".join(
            [
                sha256(prefix + chunk[place : place + size]).digest()
                for place in range(0, len(chunk), size)
            ]
        )
    return hashed


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
