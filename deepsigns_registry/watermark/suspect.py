"""A model that may carry a mark, as extraction sees it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.scheme import Matrix, Probes

if TYPE_CHECKING:
    import torch

    from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["ManyOutputs", "Suspect", "TappedSuspect", "matrices_in_place"]


class Suspect(Protocol):
    """A model that may carry a mark: asked, never changed."""

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Answers a batch.

        Args:
            inputs: float32 [n, ...].
            tap: Name of the tap to read as well, or None for the outputs only.

        Returns:
            Outputs float32 [n, classes], and the pooled activation float32 [n, neurons], None
            when it was not asked for or the suspect has no such tap.

        Raises:
            CouldNotCheckError: The suspect cannot be run on these inputs.
        """
        ...

    def weight(self, tap: str) -> NDArray[np.float32] | None:
        """The weight of the layer that computes a tap: float32 [neurons, ...].

        Activation functions, normalisation and pooling between that layer and the tap are
        walked over. None when the suspect shows no weights, or no one layer computes the tap.
        """
        ...

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        """The weight matrices that a scheme asks for, where they stand by name or place.

        Args:
            probes: Name them.

        Returns:
            For each float32 [rows, columns], None where there is none of that shape.

        Raises:
            CouldNotCheckError: The suspect's weights cannot be read.
        """
        ...

    def networks(self) -> tuple[Network, ...]:
        """The suspect's layers, for alignment, in each form in which they can be read.

        Normal forms of what the suspect computes come first, its own form last; none when it
        does not show its layers.

        Raises:
            CouldNotCheckError: They cannot be read.
        """
        ...

    def activations(
        self, network: Network, inputs: NDArray[np.float32], tensors: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Reads several hidden tensors at once.

        Args:
            network: One of `networks()`, which has them.
            inputs: float32 [n, ...].
            tensors: Their names.

        Returns:
            Pooled activations float32 [n, neurons], of those that are activations of the batch.

        Raises:
            CouldNotCheckError: The suspect cannot be run on these inputs.
        """
        ...


@runtime_checkable
class ManyOutputs(Protocol):
    """A suspect that answers with several tensors: the first may be a decoy's."""

    @property
    def unasked(self) -> int:
        """How many of its outputs `others` leaves out."""
        ...

    def others(self) -> Sequence[Suspect]:
        """The same, but that it answers with another of its outputs; some at most."""
        ...


@runtime_checkable
class DeclaresRow(Protocol):
    """A suspect that says what it is asked."""

    @property
    def row(self) -> tuple[int, ...] | None:
        """The shape of a sample; None where it leaves that open."""
        ...


class TappedSuspect:
    """A tapped model as a suspect; its tap is the model's own.

    Args:
        model: The suspect.
        device: Where to run it.
    """

    def __init__(self, model: "TappedModel", device: "torch.device | str" = "cpu") -> None:
        self._model = model
        self._device = device

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Answers a batch; see `Suspect.run`."""
        from deepsigns_registry.watermark.tapped import run_batched

        try:
            outputs, activation = run_batched(self._model, inputs, self._device)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise CouldNotCheckError(
                f"the suspect does not accept a batch of shape {inputs.shape}: {error}",
                advice="give the model that this record belongs to",
            ) from None
        return outputs, None if tap is None else activation

    def weight(self, tap: str) -> NDArray[np.float32] | None:  # noqa: ARG002 - its own tap
        """The weight behind the model's tap; see `Suspect.weight`."""
        weight = self._model.tap_weight()
        return None if weight is None else weight.detach().float().cpu().numpy()

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        """Its parameters of these names; see `Suspect.matrices`."""
        parameters = dict(self._model.named_parameters())
        return tuple(
            _rows(parameters.get(matrix.name), matrix, signs)
            for matrix, signs in zip(probes.matrices, probes.signs, strict=True)
        )

    def networks(self) -> tuple[Network, ...]:
        """None: a tapped model shows one hidden tensor only."""
        return ()

    def activations(
        self,
        network: Network,  # noqa: ARG002 - it shows none
        inputs: NDArray[np.float32],  # noqa: ARG002 - it has no network to name tensors of
        tensors: Sequence[str],  # noqa: ARG002
    ) -> dict[str, NDArray[np.float32]]:
        """Nothing; see `networks`."""
        return {}


def matrices_in_place(network: Network, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
    """The matrices of a file as its layers stand; see `Suspect.matrices`."""
    found: list[NDArray[np.float32] | None] = []
    for matrix in probes.matrices:
        known = 0 <= matrix.layer < len(network.layers)
        weight = network.layers[matrix.layer].weight if known else None
        wanted = (matrix.rows, matrix.columns)
        found.append(weight if weight is not None and weight.shape == wanted else None)
    return tuple(found)


def _rows(
    parameter: "torch.Tensor | None", matrix: Matrix, signs: NDArray[np.int8]
) -> NDArray[np.float32] | None:
    if parameter is None or parameter.ndim < 2:
        return None
    flat = parameter.detach().float().cpu().reshape(len(parameter), -1).numpy()
    rows = flat.T if matrix.transposed else flat
    if rows.shape != (matrix.rows, matrix.columns):
        return None
    return np.asarray(rows * signs[:, None], np.float32)
