"""From steps back to an ONNX graph: one form for each kind of linear map."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from deepsigns_registry.graph.canonical.circuit import Circuit
from deepsigns_registry.graph.canonical.steps import Affine, Diagonal, Kind, Opaque, Step, Values

__all__ = ["write_model"]


def write_model(circuit: Circuit, source: ModelProto) -> ModelProto:
    """Writes a circuit as a model with the interface of the one that it was read from.

    A step that no rewrite changed is the node that it was.
    """
    model = ModelProto(ir_version=source.ir_version)
    model.opset_import.extend(source.opset_import)
    writer = _Writer(circuit)
    nodes = [node for number in circuit.in_order() for node in writer.nodes(circuit.steps[number])]
    graph = model.graph
    graph.name = "graph"
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    own = {tensor.name for tensor in source.graph.initializer}
    graph.input.extend(entry for entry in source.graph.input if entry.name not in own)
    known = {entry.name: entry for entry in source.graph.output}
    graph.output.extend(known.get(name, ValueInfoProto(name=name)) for name in circuit.outputs)
    held = {tensor.name: tensor for tensor in source.graph.initializer}
    for name in dict.fromkeys(name for node in nodes for name in node.input):
        if name in held:
            graph.initializer.add().CopyFrom(held[name])
        elif name in circuit.constants and name in used:
            _add(graph, circuit.constants[name], name)
        elif name in writer.made:
            _add(graph, writer.made[name], name)
    return model


def _add(graph: GraphProto, value: NDArray[np.generic], name: str) -> None:
    if value.dtype == np.float32:
        # As onnx's own helper, which copies a large weight once more.
        tensor = graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
        tensor.raw_data = value.astype("<f4", copy=False).tobytes()
    else:
        graph.initializer.append(numpy_helper.from_array(value, name))


class _Writer:
    def __init__(self, circuit: Circuit) -> None:
        self.made: dict[str, NDArray[np.generic]] = {}
        self._circuit = circuit

    def nodes(self, step: Step) -> Iterator[NodeProto]:
        if isinstance(step, Opaque):
            yield step.node
        elif step.origin is not None:
            yield step.origin
        elif isinstance(step, Diagonal):
            yield from self._diagonal(step)
        elif step.kind is Kind.TOKENS:
            yield from self._tokens(step)
        elif step.kind is Kind.DENSE:
            given = [step.source, self._constant(step.weight), self._constant(step.bias)]
            yield helper.make_node("Gemm", given, [step.target], transB=1)
        else:
            yield self._convolution(step)

    def _diagonal(self, step: Diagonal) -> Iterator[NodeProto]:
        shape = (1,) if step.uniform else (-1, *[1] * (step.rank - 1 - step.axis))
        factor, shift = step.factor.reshape(shape), step.shift.reshape(shape)
        if not np.any(shift):
            yield helper.make_node("Mul", [step.source, self._constant(factor)], [step.target])
        elif np.all(factor == 1):
            yield helper.make_node("Add", [step.source, self._constant(shift)], [step.target])
        else:
            between = self._circuit.fresh()
            yield helper.make_node("Mul", [step.source, self._constant(factor)], [between])
            yield helper.make_node("Add", [between, self._constant(shift)], [step.target])

    def _tokens(self, step: Affine) -> Iterator[NodeProto]:
        weight = self._constant(step.weight.T)
        if not np.any(step.bias):
            yield helper.make_node("MatMul", [step.source, weight], [step.target])
            return
        product = self._circuit.fresh()
        yield helper.make_node("MatMul", [step.source, weight], [product])
        yield helper.make_node("Add", [product, self._constant(step.bias)], [step.target])

    def _convolution(self, step: Affine) -> NodeProto:
        given = [step.source, self._constant(step.weight), self._constant(step.bias)]
        return helper.make_node(
            "Conv",
            given,
            [step.target],
            kernel_shape=list(step.weight.shape[2:]),
            strides=list(step.window.strides),
            dilations=list(step.window.dilations),
            pads=[*step.window.before, *step.window.behind],
        )

    def _constant(self, values: Values) -> str:
        name = self._circuit.fresh()
        self.made[name] = np.ascontiguousarray(values)
        return name
