"""A file as a suspect in this process: for the many readings of models of our own."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import has_tensor
from deepsigns_registry.graph.tap_weight import read_weight
from deepsigns_registry.graph.wiring import read_network
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.tapped import pool

__all__ = ["InsideSuspect"]

_WHERE = "a model of the benchmark"


class InsideSuspect:
    """The same as `OnnxSuspect` without a process of its own for each batch.

    Args:
        model: The file's view; not one of unknown origin.

    Attributes:
        file: The file itself.
    """

    def __init__(self, model: OnnxTappedModel) -> None:
        self._model = model.eval()
        self.file = model.write_back()

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Answers a batch; see `Suspect.run`."""
        known = tap is not None and has_tensor(self.file, tap)
        output = self.file.graph.output[0].name
        values = self._tensors(inputs, [output, *([tap] if known and tap else [])])
        return values[output], values.get(tap) if tap else None

    def activations(
        self, inputs: NDArray[np.float32], tensors: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Reads several hidden tensors; see `Suspect.activations`."""
        return self._tensors(inputs, [name for name in tensors if has_tensor(self.file, name)])

    def weight(self, tap: str) -> NDArray[np.float32] | None:
        """The weight behind a tap; see `Suspect.weight`."""
        return read_weight(self.file, tap, where=_WHERE)

    def network(self) -> Network | None:
        """The file's layers; see `Suspect.network`."""
        return self._network

    @cached_property
    def _network(self) -> Network | None:
        return read_network(self.file, where=_WHERE)

    def _tensors(
        self, inputs: NDArray[np.float32], names: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        with torch.no_grad():
            found = self._model.tensors(torch.from_numpy(np.ascontiguousarray(inputs)))
        values = {name: value for name in names if (value := found[name]) is not None}
        return {name: pool(value).numpy() for name, value in values.items() if value.ndim > 1}
