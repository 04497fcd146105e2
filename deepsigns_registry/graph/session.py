"""Running an ONNX file of unknown origin in a limited process, and reading a tap from it."""

import copy
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from deepsigns_registry.graph.forms import MOST_OUTPUTS, Form, read_forms
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.graph.running import Running
from deepsigns_registry.graph.structure import parse_model, read_file
from deepsigns_registry.graph.tap_weight import read_weight
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.scheme import Probes
from deepsigns_registry.watermark.suspect import matrices_in_place

__all__ = ["OnnxSuspect", "has_tensor", "with_taps"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


class OnnxSuspect:
    """A suspect that is an ONNX file: a batch in, outputs and a hidden activation out.

    The file is read once and checked (see `graph.structure`); it runs in a room (see `sandbox`),
    where a hostile graph can only waste a bounded time. The room ends with the suspect, at the end
    of its context or with the last reference to it.

    Attributes:
        digest: SHA-256 (hex) of the bytes that were read.
        model: What they hold; not to be changed.
        providers: What the last run's session really used; empty before the first run.
        doors: What was closed in the room where it ran; None before the first run.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from onnx import TensorProto, helper
        >>> batch = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2])
        >>> result = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 2])
        >>> node = helper.make_node("Relu", ["input"], ["output"])
        >>> graph = helper.make_graph([node], "graph", [batch], [result])
        >>> opset = [helper.make_opsetid("", 20)]
        >>> model = helper.make_model(graph, opset_imports=opset, ir_version=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "relu.onnx"
        ...     _ = path.write_bytes(model.SerializeToString())
        ...     suspect = OnnxSuspect(path, providers=("CPUExecutionProvider",))
        >>> outputs, activation = suspect.run(np.array([[-1, 2]], np.float32), tap=None)
        >>> outputs.tolist(), activation
        ([[0.0, 2.0]], None)
    """

    def __init__(
        self,
        path: Path,
        *,
        content: bytes | None = None,
        limits: Limits | None = None,
        providers: Literal["auto"] | Sequence[str] = "auto",
    ) -> None:
        """Reads and checks the file.

        Args:
            path: The ONNX file.
            content: All of it, from `graph.structure.read_file`, where it was read before: then
                `path` is no more than its name.
            limits: What reading and running it may cost.
            providers: Names of onnxruntime's providers in order; `auto` is CUDA where the
                session really gets it, then the processor.

        Raises:
            NotFoundError: There is no such file.
            CouldNotCheckError: Its structure is refused.
        """
        self._where = str(path)
        self._limits = limits or Limits()
        self._wanted = [_CUDA, _CPU] if providers == "auto" else list(providers)
        if content is None:
            content = read_file(Path(path), limits=self._limits)
        self.digest = hashlib.sha256(content).hexdigest()
        self.model = parse_model(content, self._where, limits=self._limits)
        self._running = Running(self._where, self._wanted, self._limits)
        self._last: tuple[ModelProto, list[str], ModelProto] | None = None
        self._forms: tuple[Form, ...] | None = None
        self._row: tuple[int, ...] | None = None
        self.providers: tuple[str, ...] = ()
        self.doors: Doors | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Runs a batch.

        Args:
            inputs: float32 [batch, ...], the shape of the file's only input.
            tap: Name of a hidden tensor, or None.

        Returns:
            Outputs float32 [batch, classes] of the file's first output, and the activation
            float32 [batch, neurons] at the tap, pooled as by `watermark.tapped.pool`; None
            without a tap, or when the file has no tensor of that name.

        Raises:
            CouldNotCheckError: The file crashed, was stopped at a limit, or does not fit the
                inputs.
        """
        taps = [tap] if tap is not None and has_tensor(self.model, tap) else []
        self._row = inputs.shape[1:]
        outputs, activations = self._run(self.model, inputs, taps)
        return outputs, activations[0] if activations else None

    def activations(
        self, network: Network, inputs: NDArray[np.float32], tensors: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Reads several hidden tensors in one run; see `watermark.suspect.Suspect.activations`.

        Raises:
            CouldNotCheckError: As `run`.
        """
        forms = self._forms or ()
        model = next((form.model for form in forms if form.network is network), self.model)
        taps = [name for name in tensors if has_tensor(model, name)]
        _, found = self._run(model, inputs, taps)
        return {name: value for name, value in zip(taps, found, strict=True) if value is not None}

    def weight(self, tap: str) -> NDArray[np.float32] | None:
        """The weight behind a tap, from the file; see `watermark.suspect.Suspect.weight`.

        Raises:
            CouldNotCheckError: The weight's constants do not fit together.
        """
        return read_weight(self.model, tap, where=self._where)

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        """The file's layers of these places; see `watermark.suspect.Suspect.matrices`.

        Raises:
            CouldNotCheckError: Its layers cannot be read.
        """
        return matrices_in_place(self.networks()[0], probes)

    def networks(self) -> tuple[Network, ...]:
        """The file's layers in its normal forms and in its own; see `Suspect.networks`.

        Raises:
            CouldNotCheckError: There are too many, or a weight's constants do not fit together.
        """
        if self._forms is None:
            with self._running.timed() as until:
                self._forms = read_forms(self.model, where=self._where, row=self._row, until=until)
        return tuple(form.network for form in self._forms)

    def remarks(self) -> tuple[str, ...]:
        """What is odd about the file, a sentence each: gates, outputs of several models.

        Raises:
            CouldNotCheckError: See `networks`.
        """
        self.networks()
        found = (remark for form in self._forms or () for remark in form.remarks)
        return tuple(dict.fromkeys(found))

    @property
    def row(self) -> tuple[int, ...] | None:
        """The shape of a sample that the file declares; see `DeclaresRow`."""
        first = next(iter(self.model.graph.input), None)
        if first is None or not first.type.tensor_type.HasField("shape"):
            return None
        extents = [extent.dim_value for extent in first.type.tensor_type.shape.dim[1:]]
        return tuple(extents) if all(extent > 0 for extent in extents) else None

    @property
    def unasked(self) -> int:
        """How many outputs are left out; see `ManyOutputs`."""
        return max(0, len(self.model.graph.output) - MOST_OUTPUTS)

    def others(self) -> tuple["OnnxSuspect", ...]:
        """The file with each of its other outputs as the only one; see `ManyOutputs`."""
        found = []
        for entry in self.model.graph.output[1:MOST_OUTPUTS]:
            model = ModelProto()
            model.CopyFrom(self.model)
            del model.graph.output[:]
            model.graph.output.append(entry)
            other = copy.copy(self)
            vars(other).update(model=model, _forms=None, _last=None)
            found.append(other)
        return tuple(found)

    def _run(
        self, source: ModelProto, inputs: NDArray[np.float32], taps: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32] | None]]:
        # One at a time: a session for other taps is another one.
        if self._last is None or self._last[0] is not source or self._last[1] != list(taps):
            self._last = source, list(taps), with_taps(source, taps)
        found = self._running.run(self._last[2], inputs, taps)
        self.providers, self.doors = self._running.providers, self._running.doors
        return found


def has_tensor(model: ModelProto, name: str) -> bool:
    """Whether a node of the graph writes a tensor of this name.

    Examples:
        >>> from onnx import TensorProto, helper
        >>> rows = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 4]) for n in "xz"]
        >>> nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
        >>> model = helper.make_model(helper.make_graph(nodes, "g", rows[:1], rows[1:]))
        >>> has_tensor(model, "y"), has_tensor(model, "w")
        (True, False)
    """
    return bool(name) and any(name in node.output for node in model.graph.node)


def with_taps(model: ModelProto, taps: Iterable[str]) -> ModelProto:
    """Copies a model and appends hidden tensors to its outputs.

    Untyped entries suffice: onnxruntime infers the type. The other outputs keep their bits.

    Args:
        model: The model.
        taps: Names of tensors that nodes write.

    Returns:
        The copy, with the taps among its outputs.

    Examples:
        >>> from onnx import TensorProto, helper
        >>> rows = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 4]) for n in "xz"]
        >>> nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
        >>> model = helper.make_model(helper.make_graph(nodes, "g", rows[:1], rows[1:]))
        >>> [output.name for output in with_taps(model, ["y"]).graph.output]
        ['z', 'y']
    """
    tapped = ModelProto()
    tapped.CopyFrom(model)
    known = {output.name for output in tapped.graph.output}
    tapped.graph.output.extend(
        ValueInfoProto(name=tap) for tap in dict.fromkeys(taps) if tap not in known
    )
    return tapped
