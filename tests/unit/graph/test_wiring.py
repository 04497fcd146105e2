"""The layers of a graph: of what its output depends on, and at a bounded cost."""

import time
from itertools import pairwise

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.wiring import read_network
from tests.unit.graph.conftest import Build

EYE = {"w": np.eye(4, dtype=np.float32)}


def matmul(given: str, result: str) -> NodeProto:
    return helper.make_node("MatMul", [given, "w"], [result])


def relu(given: str, result: str) -> NodeProto:
    return helper.make_node("Relu", [given], [result])


def names(model: ModelProto) -> list[tuple[str, int]]:
    return [(tensor.name, tensor.after) for tensor in read_network(model, where="it").tensors]


def test_what_the_output_does_not_depend_on_is_no_layer(build: Build) -> None:
    nodes = [
        matmul("input", "dead"),
        relu("dead", "dead too"),
        matmul("input", "a"),
        matmul("a", "output"),
    ]
    assert names(build(nodes, EYE)) == [("a", 1), ("output", 2)]


def test_layers_come_in_the_order_in_which_they_run(build: Build) -> None:
    nodes = [matmul("a", "output"), relu("h", "a"), matmul("input", "h")]
    assert names(build(nodes, EYE)) == [("h", 1), ("a", 1), ("output", 2)]
    # Nodes that wait for each other run nowhere.
    assert names(build([relu("output", "b"), relu("b", "output")])) == []


def test_a_tensor_is_sole_when_nothing_goes_past_it(build: Build) -> None:
    nodes = [
        matmul("input", "a"),
        relu("a", "b"),
        helper.make_node("Shape", ["a"], ["shape"]),
        matmul("b", "c"),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["e"]),
        matmul("e", "output"),
    ]
    assert read_network(build(nodes, EYE), where="it").sole == {"a", "b", "d", "e"}
    beside = [*nodes[:-1], matmul("e", "f"), helper.make_node("Add", ["f", "input"], ["output"])]
    assert not read_network(build(beside, EYE), where="it").sole


def _products() -> list[NodeProto]:
    """Layers without a weight."""
    nodes = [helper.make_node("MatMul", ["input", "input"], [f"t{i}"]) for i in range(8_000)]
    return [*nodes, helper.make_node("Sum", [node.output[0] for node in nodes], ["output"])]


def _chain() -> list[NodeProto]:
    """A weight behind thousands of nodes, which thousands of layers read."""
    behind = ["w", *(f"w{i}" for i in range(10_000))]
    chain = [helper.make_node("Identity", [before], [after]) for before, after in pairwise(behind)]
    layers = [
        helper.make_node("MatMul", [f"t{i}", behind[-1]], [f"t{i + 1}"]) for i in range(10_000)
    ]
    given, result = relu("input", "t0"), relu("t10000", "output")
    return [*chain, given, *layers, result]


def _doubling() -> list[NodeProto]:
    """Channels joined with themselves again and again."""
    joins = [helper.make_node("Concat", [f"t{i}"] * 2, [f"t{i + 1}"], axis=1) for i in range(40)]
    return [matmul("input", "t0"), *joins, relu("t40", "output")]


@pytest.mark.parametrize("nodes", [_products(), _chain(), _doubling()], ids=["a", "b", "c"])
def test_a_hostile_graph_costs_a_bounded_time(build: Build, nodes: list[NodeProto]) -> None:
    model = build(nodes, EYE)
    start = time.process_time()
    with pytest.raises(CouldNotCheckError, match="file: "):
        read_network(model, where="file")
    # Measured 0.2 to 1.5 s; a walk over the graph for each layer takes minutes.
    assert time.process_time() - start < 60
