"""Suspects that are services: they answer, show nothing else, and may hold something back."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.scheme import Probes
from deepsigns_registry.watermark.suspect import Suspect

__all__ = ["Detecting", "LabelsOnly"]

Floats = NDArray[np.float32]


class _Service:
    """A model behind an interface that gives outputs alone."""

    def __init__(self, behind: Suspect) -> None:
        self._behind = behind

    def run(self, inputs: Floats, *, tap: str | None) -> tuple[Floats, None]:  # noqa: ARG002
        """Answers a batch; see `Suspect.run`."""
        return self._answer(inputs), None

    def _answer(self, inputs: Floats) -> Floats:
        outputs, _ = self._behind.run(inputs, tap=None)
        return outputs

    def weight(self, tap: str) -> None:
        """None: it shows no weights."""

    def matrices(self, probes: Probes) -> tuple[None, ...]:
        """None: it shows no weights."""
        return (None,) * len(probes.matrices)

    def networks(self) -> tuple[Network, ...]:
        """None: it shows no layers."""
        return ()

    def activations(
        self,
        network: Network,  # noqa: ARG002
        inputs: Floats,  # noqa: ARG002
        tensors: Sequence[str],  # noqa: ARG002
    ) -> dict[str, Floats]:
        """Nothing; see `networks`."""
        return {}


class LabelsOnly(_Service):
    """Answers the likeliest class with a probability of one, and all others with none."""

    def _answer(self, inputs: Floats) -> Floats:
        outputs = super()._answer(inputs)
        certain = np.zeros_like(outputs)
        certain[np.arange(len(outputs)), outputs.argmax(axis=1)] = 1
        return certain


class Detecting(_Service):
    """Answers what it takes for a secret query as if it were blank.

    Args:
        behind: The model.
        score: From inputs float32 [n, ...] to how strange each is, float [n].
        limit: Stranger inputs are not answered as they are.
    """

    def __init__(
        self, behind: Suspect, score: Callable[[Floats], NDArray[np.floating]], limit: float
    ) -> None:
        super().__init__(behind)
        self._score, self._limit = score, limit

    def _answer(self, inputs: Floats) -> Floats:
        found = self._score(inputs) > self._limit
        shown = inputs.copy()
        shown[found] = 0
        return super()._answer(shown)
