"""A file as a suspect in this process: for the many readings of models of our own."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from deepsigns_registry.graph.forms import Form, read_forms
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.session import has_tensor
from deepsigns_registry.graph.tap_weight import read_weight
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.scheme import Probes
from deepsigns_registry.watermark.suspect import matrices_in_place
from deepsigns_registry.watermark.tapped import pool

__all__ = ["InsideSuspect"]

_WHERE = "a model of the benchmark"
# Samples at a time: a view bounds what one pass may hold.
_BATCH = 256


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
        self._row: tuple[int, ...] | None = None

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Answers a batch; see `Suspect.run`."""
        self._row = inputs.shape[1:]
        known = tap is not None and has_tensor(self.file, tap)
        output = self.file.graph.output[0].name
        values = _tensors(self._model, inputs, [output, *([tap] if known and tap else [])])
        return values[output], values.get(tap) if tap else None

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        """The file's layers of these places; see `Suspect.matrices`."""
        return matrices_in_place(self.networks()[0], probes)

    def networks(self) -> tuple[Network, ...]:
        """The file's layers in each form; see `Suspect.networks`."""
        return tuple(form.network for form in self._forms)

    def activations(
        self, network: Network, inputs: NDArray[np.float32], tensors: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Reads several hidden tensors of a form; see `Suspect.activations`."""
        for form, view in zip(self._forms, self._views, strict=True):
            if form.network is network:
                names = [name for name in tensors if has_tensor(form.model, name)]
                return _tensors(view, inputs, names)
        return {}

    def weight(self, tap: str) -> NDArray[np.float32] | None:
        """The weight behind a tap; see `Suspect.weight`."""
        return read_weight(self.file, tap, where=_WHERE)

    @cached_property
    def _forms(self) -> tuple[Form, ...]:
        return read_forms(self.file, where=_WHERE, row=self._row)

    @cached_property
    def _views(self) -> tuple[OnnxTappedModel, ...]:
        return tuple(OnnxTappedModel.from_proto(form.model).eval() for form in self._forms)


def _tensors(
    model: OnnxTappedModel, inputs: NDArray[np.float32], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for start in range(0, len(inputs), _BATCH):
        batch = np.ascontiguousarray(inputs[start : start + _BATCH])
        with torch.no_grad():
            found = model.tensors(torch.from_numpy(batch))
        for name in names:
            value = found[name]
            if value is not None and value.ndim > 1:
                parts[name].append(pool(value).numpy())
    return {name: np.concatenate(values) for name, values in parts.items() if values}
