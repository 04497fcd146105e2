"""Who tells a suspect's tap: a scheme that knows what the unmarked parent gives there.

Every scheme that is read at the tap needs it told by value, and needs no activations of the parent
of its own for that: one scheme of the record that holds some is enough. Of our own it is the white
box.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.projection import class_means
from deepsigns_registry.watermark.scheme import Scheme, SchemeSecret
from deepsigns_registry.watermark.tap import TapAgreement

__all__ = ["KnowsTap", "Witness"]


@runtime_checkable
class KnowsTap(Protocol):
    """A scheme whose secret holds what the parent's tap gives for the scheme's probes."""

    def parent_means(self, secret: SchemeSecret) -> NDArray[np.float32]:
        """Mean activation of each group of probes, of equal size: float32 [groups, neurons]."""
        ...

    def tap_agreement(
        self, secret: SchemeSecret, activation: NDArray[np.float32]
    ) -> TapAgreement | None:
        """How a suspect's activation compares with the parent's.

        Args:
            secret: As prepared.
            activation: float32 [probes, neurons].

        Returns:
            None when there is nothing to compare.
        """
        ...


@dataclass(frozen=True, repr=False)
class Witness:
    """Such a scheme, and its secret."""

    scheme: KnowsTap
    secret: SchemeSecret

    @classmethod
    def of(cls, scheme: Scheme, secret: SchemeSecret) -> "Witness | None":
        """The witness that a scheme is; None of one that does not know the tap."""
        return cls(scheme, secret) if isinstance(scheme, KnowsTap) else None

    @property
    def neurons(self) -> int:
        """How many the parent's tap has."""
        return int(self.scheme.parent_means(self.secret).shape[1])

    def agreement(self, activation: NDArray[np.float32]) -> TapAgreement | None:
        """How a suspect's activation on the probes compares with the parent's."""
        return self.scheme.tap_agreement(self.secret, activation)

    def most_like(self, activations: Mapping[str, NDArray[np.float32]]) -> str:
        """The name of the tensor whose means are most like the parent's.

        Args:
            activations: By name; each float32 [probes, neurons], one at least.
        """
        means = self.scheme.parent_means(self.secret)
        return max(activations, key=lambda name: _likeness(means, activations[name]))


def _likeness(parent: NDArray[np.float32], activation: NDArray[np.float32]) -> float:
    """Cosine of the class means with the parent's, in [-1, 1].

    With their common offset, which tells a tap before its activation function from one behind.
    """
    if len(activation) % len(parent):
        return -1.0
    means = class_means(activation, len(parent))
    ours, theirs = (values.astype(np.float64).ravel() for values in (parent, means))
    norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
    cosine = float(ours @ theirs) / max(float(norms), np.finfo(np.float64).tiny)
    return cosine if np.isfinite(cosine) else -1.0
