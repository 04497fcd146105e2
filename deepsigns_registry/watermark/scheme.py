"""What a watermarking scheme is; one loop embeds any set of them.

A scheme prepares a secret from the owner's key, gives an objective that adds samples and a
loss to the fine-tuning, says what to ask a suspect, and reads evidence from the answers.
Reading needs numpy alone: whatever trains is imported where it is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.settings import MarkSettings

if TYPE_CHECKING:
    import torch

    from deepsigns_registry.watermark.objective import Objective
    from deepsigns_registry.watermark.tapped import TappedModel

__all__ = [
    "JSON",
    "Answers",
    "Fitting",
    "Matrix",
    "Preparation",
    "Probes",
    "Scheme",
    "SchemeSecret",
]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


@dataclass(frozen=True, repr=False)
class Preparation:
    """What a scheme prepares its secret from.

    Attributes:
        model: The unmarked parent.
        data: The owner's data, validated.
        manifest: Of `data.train`, in its order.
        subkey: 32 bytes, this scheme's own, of this owner and this data; see `key.scheme_key`.
        device: Where the model runs.
        options: Sizes and thresholds.
        given: The secret that is prepared again to be checked. Where rounding decides between
            two choices, its choice is taken.
        recognisable: Whether the tap must be one that its values tell from other networks': a
            thief who overwrites a mark does not ask for that.
        blueprint: Of the parent's exported file; empty where it is read as a tapped model only, or
            the tap's channels are not known.
        from_file: Whether suspects are files: of their layers only those of the blueprint are
            found again.
    """

    model: "TappedModel"
    data: TrainingData
    manifest: Manifest
    subkey: bytes
    device: "torch.device"
    options: MarkSettings
    given: "SchemeSecret | None" = None
    recognisable: bool = True
    blueprint: Blueprint = field(default_factory=Blueprint.empty)
    from_file: bool = False

    def run(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Outputs and pooled activation of the parent: float32 [n, classes], [n, neurons].

        Raises:
            UnmarkableError: One of them holds NaN or infinity.
        """
        from deepsigns_registry.watermark.tapped import run_batched

        outputs, activation = run_batched(self.model, inputs, self.device)
        if not np.isfinite(outputs).all() or not np.isfinite(activation).all():
            raise UnmarkableError(
                f"the model gives NaN or infinity at its output or at layer '{self.model.tap}' for "
                "a training sample, or for values in the range of the training samples",
                advice="promote a model that works on its own training data",
            )
        return outputs, activation


@dataclass(frozen=True, repr=False)
class SchemeSecret:
    """The secret of one scheme, ready to be sealed. Never logged.

    Attributes:
        scheme: Name of the scheme.
        meta: Plain values.
        arrays: Arrays of plain numbers.
    """

    scheme: str
    meta: Mapping[str, JSON] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


class Matrix(NamedTuple):
    """A weight matrix of the parent.

    Attributes:
        name: Of the parameter, in the parent's adapter.
        layer: Its place among the layers of the parent's exported file; -1 when it has none.
        rows: One a channel that it computes.
        columns: Of a convolution channels times positions.
        transposed: Whether the parameter has its rows as columns.
    """

    name: str
    layer: int
    rows: int
    columns: int
    transposed: bool = False


class Probes(NamedTuple):
    """What a suspect is asked.

    Attributes:
        inputs: float32 [probes, ...]; none for a scheme that reads weights only.
        matrices: Weight matrices to show.
        signs: For each of them int8 [rows] of 1 and -1: in which direction the parent's exported
            file holds the rows of the parameter.
        blueprint: SHA-256 of the only blueprint by which the matrices may be put in order.
    """

    inputs: NDArray[np.float32]
    matrices: tuple[Matrix, ...] = ()
    signs: tuple[NDArray[np.int8], ...] = ()
    blueprint: bytes = b""


class Answers(NamedTuple):
    """What a suspect answered.

    Attributes:
        outputs: float32 [probes, outputs].
        activation: float32 [probes, neurons], pooled; None when it was not asked for, or the
            suspect has no such tap.
        weight: float32 [neurons, ...], one row a neuron of the tap; None in the same cases, and
            when the tap is not computed by one layer with a weight.
        matrices: For each matrix of the probes float32 [rows, columns] in the parent's order and
            as an exported file holds it; None where it was not found.
    """

    outputs: NDArray[np.float32]
    activation: NDArray[np.float32] | None = None
    weight: NDArray[np.float32] | None = None
    matrices: tuple[NDArray[np.float32] | None, ...] = ()


@dataclass(frozen=True, repr=False)
class Fitting:
    """A fine-tuning that a scheme adds something to.

    Attributes:
        options: Sizes, weights and thresholds.
        steps: How many it has.
        device: Where it runs.
        samples: The owner's, in any order: a secret that trains on many need not hold them.
    """

    options: MarkSettings
    steps: int
    device: "torch.device"
    samples: LabelledData


@runtime_checkable
class Scheme(Protocol):
    """One watermarking method."""

    @property
    def name(self) -> str:
        """Short name: key derivation, records and reports use it."""
        ...

    @property
    def needs_activation(self) -> bool:
        """Whether evidence is read from the activation at the tap."""
        ...

    @property
    def needs_weight(self) -> bool:
        """Whether evidence is read from the weight behind the tap."""
        ...

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        """Derives the secret.

        Raises:
            UnmarkableError: The model cannot carry this mark.
            DataError: The data does not give what the scheme needs.
        """
        ...

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> "Objective":
        """What the scheme adds to a fine-tuning, on its device."""
        ...

    def probes(self, secret: SchemeSecret) -> Probes:
        """What to ask a suspect."""
        ...

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Evidence:
        """Reads the suspect's answers to the probes.

        Args:
            secret: As prepared.
            answers: To `probes(secret)`.

        Raises:
            CouldNotCheckError: The answers do not have the shape that the secret needs.
        """
        ...

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:
        """Derives again everything that the key and the manifest determine.

        Raises:
            TamperedError: The secret holds something else.
        """
        ...
