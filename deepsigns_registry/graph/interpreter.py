"""An ONNX graph as a trainable model: node by node in torch, written back into the same graph."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.constants import with_constants_hoisted
from deepsigns_registry.graph.ending import logits_of
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.graph.operators import MOST_VALUES, OPERATORS, Call, Operator
from deepsigns_registry.graph.session import has_tensor
from deepsigns_registry.graph.stored import attribute_of, tensor_of
from deepsigns_registry.graph.structure import check_model, read_model
from deepsigns_registry.graph.tap_weight import TapWeight, find_weight
from deepsigns_registry.watermark.adapters.blocks import find_layout
from deepsigns_registry.watermark.adapters.outputs import give_probabilities, log_probabilities
from deepsigns_registry.watermark.tap import Layout
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool

__all__ = ["OnnxTappedModel"]

_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
# Inputs that are no weights: running statistics, quantisation steps, bounds and fill values.
_STATISTICS = {"BatchNormalization": {3, 4}}
_CONSTANTS = {
    "Clip": {1, 2},
    "DequantizeLinear": {1, 2},
    "Dropout": {1},
    "Pad": {2},
    "QuantizeLinear": {1, 2},
}


@dataclass
class _Step:
    call: Call
    function: Operator
    inputs: list[str]
    outputs: list[str]


class OnnxTappedModel(TappedModel):
    """A trainable view of an ONNX file.

    Float initializers are parameters, running statistics are buffers, everything else stays as
    it is; `write_back` puts them into a copy of the same graph, so that tensor names, and with
    them a tap, stay valid. Half precision is computed in float32. Quantised weights stay fixed.

    A file of unknown origin belongs into `graph.session.OnnxSuspect` first: this class runs in
    the own process and bounds only what one pass may hold.

    Attributes:
        tap: Name of the tap's tensor; empty without one.
        where: What the model is called in errors.

    Examples:
        >>> import numpy as np
        >>> from onnx import TensorProto, helper, numpy_helper
        >>> batch = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2])
        >>> result = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1])
        >>> weight = numpy_helper.from_array(np.ones((2, 1), np.float32), "w")
        >>> node = helper.make_node("MatMul", ["input", "w"], ["output"])
        >>> graph = helper.make_graph([node], "graph", [batch], [result], [weight])
        >>> model = OnnxTappedModel.from_proto(helper.make_model(graph))
        >>> model(torch.tensor([[1.0, 2.0]])).outputs.tolist()
        [[3.0]]
        >>> [tuple(weight.shape) for weight in model.parameters()]
        [(2, 1)]
    """

    def __init__(
        self,
        model: ModelProto,
        tap: str = "",
        *,
        where: str = "ONNX model",
        logits: bool = False,
    ) -> None:
        """Builds the view.

        Args:
            model: The model; not changed.
            tap: Name of a hidden tensor; without one, activations are float [batch, 0].
            where: What to call the model in errors.
            logits: Give a classifier's logits also where the file gives probabilities, as
                marking needs; the file that is written keeps its last layer.

        Raises:
            CouldNotCheckError: An operator is not supported, the structure is refused, or no
                node writes the tap.
        """
        super().__init__()
        self.tap = tap
        self.where = where
        check_model(model, where, size=model.ByteSize(), limits=Limits())
        self._initializers: dict[str, str] = {}
        self._fixed: dict[str, Tensor] = {}
        try:
            self._proto = with_constants_hoisted(model)
            self._add_initializers()
            steps = [self._step(node) for node in self._proto.graph.node]
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CouldNotCheckError(
                f"{where}: cannot be read: {error!r:.200}", advice="export the model again"
            ) from error
        if tap and not has_tensor(self._proto, tap):
            raise CouldNotCheckError(
                f"{where}: has no tensor '{tap}'", advice="leave the tap empty to train without"
            )
        inputs = [
            entry.name
            for entry in self._proto.graph.input
            if entry.name not in self._initializers and entry.name not in self._fixed
        ]
        if len(inputs) != 1 or not self._proto.graph.output:
            raise CouldNotCheckError(
                f"{where}: needs one input and an output, has {len(inputs)} inputs",
                advice="name the ONNX file of a classifier",
            )
        self._input = inputs[0]
        self._steps = self._ordered(steps)
        self._output = self._proto.graph.output[0].name
        self._logits = logits_of(self._proto) if logits else ""
        self._logarithm: bool | None = None if logits and not self._logits else False
        self._row: tuple[int, ...] | None = None
        self._behind: tuple[TapWeight | None] | None = None

    @classmethod
    def from_file(
        cls, path: Path, tap: str = "", *, limits: Limits | None = None, logits: bool = False
    ) -> Self:
        """Reads and checks a file, then builds the view.

        Raises:
            NotFoundError: There is no such file.
            CouldNotCheckError: See `graph.structure.read_model` and the class.
        """
        return cls(read_model(Path(path), limits=limits), tap, where=str(path), logits=logits)

    @classmethod
    def from_proto(cls, model: ModelProto, tap: str = "", *, where: str = "ONNX model") -> Self:
        """Builds the view of a model in memory; see the class."""
        return cls(model, tap, where=where)

    def forward(self, inputs: Tensor) -> Tapped:
        """Runs a batch.

        Args:
            inputs: float32 [batch, ...].

        Returns:
            Outputs float [batch, classes], and the pooled activation float [batch, neurons].

        Raises:
            CouldNotCheckError: A node fails on this batch, or the pass would hold more than
                2**30 values.
        """
        outputs, logits, activation = self._run(inputs)
        if self._logarithm is None:
            first = next(self.parameters(), None)
            self._logarithm = give_probabilities(
                lambda rows: self._run(rows)[0], inputs.shape[1:], first
            )
        if self._logarithm:
            outputs = log_probabilities(outputs)
        elif logits.numel() == outputs.numel():
            outputs = logits.reshape(outputs.shape)
        return Tapped(outputs.flatten(1), pool(activation))

    def as_registered(self, inputs: Tensor) -> Tapped:
        """The outputs as the file gives them; see `TappedModel.as_registered`."""
        outputs, _, activation = self._run(inputs)
        return Tapped(outputs.flatten(1), pool(activation))

    def tap_weight(self) -> Tensor | None:
        """The weight behind the tap; see `TappedModel.tap_weight`.

        Of a quantised weight these are the dequantised values, which stay fixed.

        Raises:
            CouldNotCheckError: The weight's constants do not fit together.
        """
        try:
            if self._behind is None:
                self._behind = (find_weight(self._proto, self.tap) if self.tap else None,)
            (behind,) = self._behind
            return None if behind is None else self._rows_of(behind)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CouldNotCheckError(
                f"{self.where}: the weight behind the tap cannot be read: {error!r:.200}",
                advice="export the model again",
            ) from error

    def _rows_of(self, behind: TapWeight) -> Tensor:
        weight = self._constant(behind.weight)

        def values(name: str) -> Tensor:
            return self._constant(name).to(device=weight.device, dtype=torch.float32)

        floats = weight if weight.is_floating_point() else weight.float()
        return behind.rows(floats, values, torch.rsqrt)

    def tap_layout(self) -> Layout | None:
        """Where the tap's channels stand; see `TappedModel.tap_layout`.

        Raises:
            RuntimeError: No batch has been run yet, so that the shape of an input is not known.
        """
        if self._row is None:
            raise RuntimeError("run a batch before asking how the tap is computed")
        return find_layout(self, self._row)

    def tensors(self, inputs: Tensor) -> dict[str, Tensor | None]:
        """Runs a batch and gives every tensor of the graph by its name.

        Raises:
            CouldNotCheckError: See `forward`.
        """
        values: dict[str, Tensor | None] = {"": None, self._input: inputs, **self._fixed}
        values |= {name: getattr(self, own) for name, own in self._initializers.items()}
        held = 0
        for step in self._steps:
            step.call.training = self.training
            step.call.device = inputs.device
            try:
                result = step.function(step.call, *(values[name] for name in step.inputs))
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                raise self._failed(step, " ".join(str(error).split())[:200]) from error
            results = result if isinstance(result, tuple) else (result,)
            held += sum(value.numel() for value in results)
            if held > MOST_VALUES:
                raise self._failed(step, f"the pass holds more than {MOST_VALUES} values")
            # An operator may give more results than the node names.
            values |= dict(zip(step.outputs, results, strict=False))
        return values

    def write_back(self) -> ModelProto:
        """Copies the graph with the present values of parameters and statistics in it.

        Before any training the copy gives the same results, bit for bit, as the original.
        """
        model = ModelProto()
        model.CopyFrom(self._proto)
        for tensor in model.graph.initializer:
            own = self._initializers.get(tensor.name)
            if own is None or tensor.data_type not in _FLOATS:
                continue
            value = getattr(self, own).detach().cpu().to(torch.float64).numpy()
            kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            # float64 holds every narrower float exactly, so that what came from the file
            # returns to it unchanged.
            written = numpy_helper.from_array(value.astype(kind), tensor.name)
            tensor.CopyFrom(written)
        return model

    def to_bytes(self) -> bytes:
        """The ONNX file of `write_back`."""
        return bytes(self.write_back().SerializeToString(deterministic=True))

    def _run(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, logits (the outputs where the file has none), and the activation."""
        self._row = tuple(inputs.shape[1:])
        values = self.tensors(inputs)
        outputs = values.get(self._output)
        activation = values.get(self.tap) if self.tap else inputs.new_empty(len(inputs), 0)
        logits = values.get(self._logits or self._output)
        if outputs is None or activation is None or logits is None:
            raise CouldNotCheckError(
                f"{self.where}: no node writes its output", advice="export the model again"
            )
        return outputs, logits, activation

    def _constant(self, name: str) -> Tensor:
        own = self._initializers.get(name)
        value: Tensor = getattr(self, own) if own else self._fixed[name]
        return value

    def _failed(self, step: _Step, reason: str) -> CouldNotCheckError:
        return CouldNotCheckError(
            f"{self.where}: node {step.call.name} ({step.call.operator}): {reason}",
            advice="check the input's shape and the batch's size",
        )

    def _step(self, node: NodeProto) -> _Step:
        domain = "" if node.domain == "ai.onnx" else node.domain
        function = OPERATORS.get((domain, node.op_type))
        if function is None:
            name = f"{domain}.{node.op_type}" if domain else node.op_type
            raise CouldNotCheckError(
                f"{self.where}: ONNX operator {name} is not supported by the trainable view",
                advice="export the model with standard operators, unoptimised",
            )
        opset = next(
            (
                entry.version
                for entry in self._proto.opset_import
                if entry.domain.removeprefix("ai.onnx") == domain
            ),
            1,
        )
        call = Call(
            name=node.name or (node.output[0] if node.output else "?"),
            operator=node.op_type,
            opset=opset,
            attributes={entry.name: attribute_of(entry) for entry in node.attribute},
            outputs=len(node.output),
        )
        return _Step(call, function, list(node.input), list(node.output))

    def _ordered(self, steps: list[_Step]) -> list[_Step]:
        """Sorts nodes so that each stands after what it reads; converters append at the end."""
        known = {"", self._input, *self._initializers, *self._fixed}
        ordered: list[_Step] = []
        waiting = steps
        while waiting:
            later = []
            for step in waiting:
                if known.issuperset(step.inputs):
                    known.update(step.outputs)
                    ordered.append(step)
                else:
                    later.append(step)
            if len(later) == len(waiting):
                raise CouldNotCheckError(
                    f"{self.where}: node {later[0].call.name} reads a tensor that nothing writes",
                    advice="export the model again",
                )
            waiting = later
        return ordered

    def _add_initializers(self) -> None:
        statistics = self._used_as(_STATISTICS)
        constants = self._used_as(_CONSTANTS)
        for index, tensor in enumerate(self._proto.graph.initializer):
            value = tensor_of(tensor)
            if tensor.data_type == TensorProto.INT64 and value.ndim <= 1:
                # Shapes and indices: read on the processor, wherever the model is.
                self._fixed[tensor.name] = value
                continue
            # Scalars are constants of formulas (an epsilon, a root of two), not weights.
            trainable = tensor.data_type in _FLOATS and value.ndim > 0
            if trainable and tensor.name not in statistics | constants:
                name = f"weight_{index}"
                self.register_parameter(name, nn.Parameter(value))
            else:
                name = f"constant_{index}"
                self.register_buffer(name, value)
            self._initializers[tensor.name] = name

    def _used_as(self, places: dict[str, set[int]]) -> set[str]:
        return {
            name
            for node in self._proto.graph.node
            for place, name in enumerate(node.input)
            if place in places.get(node.op_type, ())
        }
