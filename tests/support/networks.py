"""Random networks as ONNX graphs, written node by node: no exporter, so a test can make many."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

CLASSES = 3
SMOOTH = ("Tanh", "Sigmoid", "Gelu", "Elu", "HardSwish")
HOMOGENEOUS = ("Relu", "LeakyRelu", "PRelu")
Floats = NDArray[np.float32]


@dataclass
class Network:
    """A graph that grows; `free` lists the sizes of the groups that an attack should find."""

    seed: int
    shape: tuple[int, ...]
    free: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}

    def constant(self, value: NDArray[Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = value
        return name

    def weight(self, *shape: int, fan_in: int = 1) -> str:
        value = self.random.normal(0, 1 / np.sqrt(fan_in), shape)
        return self.constant(value.astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def activate(self, kind: str, values: str, channels: int, rank: int = 2) -> str:
        if kind == "PRelu":
            slope = self.weight(channels, *[1] * (rank - 2))
            return self.op(kind, values, slope)
        return self.op(kind, values)

    def dense(self, values: str, inputs: int, outputs: int, style: str = "gemm") -> str:
        bias = self.weight(outputs)
        if style == "matmul":
            product = self.op("MatMul", values, self.weight(inputs, outputs, fan_in=inputs))
            return self.op("Add", product, bias)
        if style == "plain":
            return self.op("Gemm", values, self.weight(inputs, outputs, fan_in=inputs), bias)
        weight = self.weight(outputs, inputs, fan_in=inputs)
        return self.op("Gemm", values, weight, bias, transB=1)

    def conv(
        self, values: str, inputs: int, outputs: int, *, kernel: int = 3, group: int = 1
    ) -> str:
        fan_in = inputs // group * kernel**2
        weight = self.weight(outputs, inputs // group, kernel, kernel, fan_in=fan_in)
        pads = [kernel // 2] * 4
        return self.op("Conv", values, weight, self.weight(outputs), pads=pads, group=group)

    def batch_norm(self, values: str, channels: int) -> str:
        gain, shift, mean = (self.weight(channels) for _ in range(3))
        # Some variances are of the size of epsilon, where a careless scaling shows.
        variance = (10.0 ** self.random.uniform(-6, 0, channels)).astype(np.float32)
        return self.op("BatchNormalization", values, gain, shift, mean, self.constant(variance))

    def model(self, output: str) -> ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        inputs = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *self.shape])
        outputs = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", CLASSES])
        weights = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, "graph", [inputs], [outputs], weights)
        opset = [helper.make_opsetid("", 20)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10)

    def inputs(self, samples: int = 8) -> Floats:
        shape = (samples, *self.shape)
        return np.random.default_rng(99).normal(size=shape).astype(np.float32)


Choose = Callable[[list[Any]], Any]


def multilayer(choose: Choose, seed: int) -> tuple[Network, ModelProto]:
    """Dense layers, each with an activation function, some with batch normalisation."""
    net = Network(seed, (5,))
    values, width = "input", 5
    for _ in range(choose([1, 2, 3])):
        outputs = choose([2, 4, 7])
        values = net.dense(values, width, outputs, choose(["gemm", "plain", "matmul"]))
        values = net.activate(choose([*HOMOGENEOUS, *SMOOTH]), values, outputs)
        if choose([False, True]):
            values = net.batch_norm(values, outputs)
        width = outputs
        net.free.append(width)
    return net, net.model(net.dense(values, width, CLASSES))


def convolutional(choose: Choose, seed: int) -> tuple[Network, ModelProto]:
    """Convolutions, pooling, a branch that is concatenated, and one of four ways to flatten."""
    net = Network(seed, (2, 8, 8))
    width = choose([2, 4, 6])
    kind = choose([*HOMOGENEOUS, *SMOOTH])
    values = net.activate(kind, net.conv("input", 2, width), width, rank=4)
    net.free.append(width)
    values = net.op(choose(["MaxPool", "AveragePool"]), values, kernel_shape=[2, 2], strides=[2, 2])
    if choose([False, True]):
        values = net.op("Relu", net.conv(values, width, width, group=width))
    if choose([False, True]):
        side = net.op("Relu", net.conv(values, width, 3, kernel=1))
        values = net.op("Concat", values, side, axis=1)
        net.free.append(3)
        width += 3
    values = net.batch_norm(net.conv(values, width, 4), 4)
    values = net.activate(choose(["Relu", "Tanh"]), values, 4, rank=4)
    net.free.append(4)
    ending = choose(["flatten", "reshape", "global", "mean"])
    if ending == "flatten":
        values, read = net.op("Flatten", values), 64
    elif ending == "reshape":
        values, read = net.op("Reshape", values, net.integers(-1, 64)), 64
    elif ending == "global":
        pooled = net.op("GlobalAveragePool", values)
        values, read = net.op("Reshape", pooled, net.integers(0, 4)), 4
    else:
        values, read = net.op("ReduceMean", values, net.integers(-1, -2), keepdims=0), 4
    values = net.op("Relu", net.dense(values, read, 5))
    net.free.append(5)
    return net, net.model(net.dense(values, 5, CLASSES))


def residual(choose: Choose, seed: int) -> tuple[Network, ModelProto]:
    """Residual blocks, batch normalisation before or after the sum, with and without shortcut."""
    net = Network(seed, (2, 6, 6))
    width = choose([4, 6])
    values = net.conv("input", 2, width)
    net.free.append(width)
    for _ in range(choose([1, 2])):
        wider = choose([width, width + 2])
        inside = choose([2, 5])
        read = net.op("Relu", net.batch_norm(values, width))
        hidden = net.conv(read, width, inside)
        if choose([False, True]):
            hidden = net.batch_norm(hidden, inside)
        hidden = net.activate(choose(["Relu", "LeakyRelu", "Sigmoid"]), hidden, inside, rank=4)
        branch = net.batch_norm(net.conv(hidden, inside, wider), wider)
        shortcut = values if wider == width else net.conv(read, width, wider, kernel=1)
        values = net.op("Add", branch, shortcut)
        net.free += [inside] if wider == width else [inside, wider]
        width = wider
    values = net.op("GlobalMaxPool", net.op("Relu", net.batch_norm(values, width)))
    values = net.op("Flatten", values)
    return net, net.model(net.dense(values, width, CLASSES))


def transformer(choose: Choose, seed: int) -> tuple[Network, ModelProto]:
    """An encoder of two heads, normalised before or after; the head reads tokens in three ways."""
    tokens, width, heads = 4, 6, 2
    net = Network(seed, (tokens, 3))
    values = net.op("Add", net.dense("input", 3, width, "matmul"), net.weight(1, tokens, width))
    net.free.append(width)
    if choose([False, True]):
        first = net.op("Slice", values, *(net.integers(place) for place in (0, 1, 1)))
        zeros = net.op("Mul", first, net.constant(np.array(0, np.float32)))
        start = net.op("Add", zeros, net.weight(1, 1, width))
        values = net.op("Concat", start, values, axis=1)
        tokens += 1
    before = choose([False, True])
    for _ in range(choose([1, 2])):
        read = _layer_norm(net, values, width) if before else values
        values = net.op("Add", values, _attention(net, read, tokens, width, heads))
        values = values if before else _layer_norm(net, values, width)
        read = _layer_norm(net, values, width) if before else values
        hidden = net.op("Gelu", net.dense(read, width, 5, "matmul"))
        net.free.append(5)
        values = net.op("Add", values, net.dense(hidden, 5, width, "matmul"))
        values = values if before else _layer_norm(net, values, width)
    ending = choose(["mean", "first", "flatten"])
    if ending == "mean":
        values, read_width = net.op("ReduceMean", values, net.integers(1), keepdims=0), width
    elif ending == "first":
        index = net.constant(np.array(0, np.int64))
        values, read_width = net.op("Gather", values, index, axis=1), width
    else:
        values, read_width = net.op("Flatten", values), tokens * width
    values = net.op("Relu", net.dense(values, read_width, 4))
    net.free.append(4)
    return net, net.model(net.dense(values, 4, CLASSES))


def _layer_norm(net: Network, values: str, width: int) -> str:
    return net.op("LayerNormalization", values, net.weight(width), net.weight(width), axis=-1)


def _attention(net: Network, values: str, tokens: int, width: int, heads: int) -> str:
    split = net.integers(0, tokens, heads, width // heads)
    parts = [net.op("Reshape", net.dense(values, width, width, "matmul"), split) for _ in range(3)]
    query, value = (net.op("Transpose", part, perm=[0, 2, 1, 3]) for part in parts[:2])
    key = net.op("Transpose", parts[2], perm=[0, 2, 3, 1])
    weights = net.op("Softmax", net.op("MatMul", query, key), axis=-1)
    mixed = net.op("Transpose", net.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    joined = net.op("Reshape", mixed, net.integers(0, tokens, width))
    return net.dense(joined, width, width, "matmul")


def execute(model: ModelProto, inputs: Floats, *tensors: str) -> list[Floats]:
    """The output, and hidden tensors, by onnxruntime."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(ValueInfoProto(name=name) for name in tensors)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Floats] = session.run(["output", *tensors], {"input": inputs})
    return found


def difference(one: ModelProto, other: ModelProto, inputs: Floats) -> float:
    """Largest difference of two models' outputs, relative to the largest output."""
    first, second = execute(one, inputs)[0], execute(other, inputs)[0]
    return float(np.abs(first - second).max() / np.abs(first).max())
