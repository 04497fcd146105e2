"""Orders of axes: taken up by matrices, and left where they are a part of the function."""

import time
from collections.abc import Sequence
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from deepsigns_registry.graph.canonical import normal_form
from tests.support.networks import CLASSES, Network, difference

CLOSE = 1e-5
SHAPES = [(12,), (3, 4), (2, 6), (2, 3, 2), (1, 12), (4, 3), (2, 2, 3, 1)]


def kinds(net: Network, model: ModelProto) -> list[str]:
    """Kinds of the nodes that are left, of a normal form that gives the same."""
    form = normal_form(model, where="it")
    assert difference(model, form.model, net.inputs()) < CLOSE
    return [node.op_type for node in form.model.graph.node][:-1]


def shuffled(net: Network, values: str, shape: Sequence[int], order: Sequence[int]) -> str:
    """Features in rows, in the order in which the axes of a shape are put."""
    axes = [0, *(axis + 1 for axis in order)]
    cut = net.op("Reshape", values, net.integers(-1, *shape))
    turned = net.op("Transpose", cut, perm=axes)
    return net.op("Reshape", turned, net.integers(-1, prod(shape)))


def test_an_order_between_two_matrices_is_no_layer() -> None:
    net = Network(1, (5,))
    hidden = shuffled(net, net.dense("input", 5, 12), (3, 4), (1, 0))
    assert kinds(net, net.model(net.dense(hidden, 12, CLASSES))) == ["Gemm"]


@pytest.mark.parametrize("function", ["Relu", "Tanh", "Clip"])
@pytest.mark.parametrize("place", ["before", "inside", "behind"])
def test_an_order_beside_a_function_is_no_layer(function: str, place: str) -> None:
    net = Network(1, (5,))
    hidden = net.dense("input", 5, 12)
    bounds = [net.constant(np.array(b, np.float32)) for b in (-1, 2)] if function == "Clip" else []
    if place == "before":
        hidden = net.op(function, shuffled(net, hidden, (3, 4), (1, 0)), *bounds)
    elif place == "behind":
        hidden = shuffled(net, net.op(function, hidden, *bounds), (3, 4), (1, 0))
    else:
        cut = net.op("Reshape", hidden, net.integers(-1, 3, 4))
        turned = net.op(function, net.op("Transpose", cut, perm=[0, 2, 1]), *bounds)
        hidden = net.op("Flatten", turned)
    left = kinds(net, net.model(net.dense(hidden, 12, CLASSES)))
    assert [kind for kind in left if kind not in {"Reshape", "Flatten"}] == [
        *("Gemm", function, "Gemm")
    ]


def test_an_image_with_its_channels_last_in_between_is_as_it_was() -> None:
    net = Network(1, (2, 6, 6))
    values = net.op("Transpose", net.conv("input", 2, 4), perm=[0, 2, 3, 1])
    values = net.op("Transpose", net.op("Relu", values), perm=[0, 3, 1, 2])
    values = net.op("Transpose", net.conv(values, 4, 3), perm=[0, 2, 3, 1])
    left = kinds(net, net.model(net.dense(net.op("Flatten", values), 108, CLASSES)))
    assert left == ["Conv", "Relu", "Conv", "Flatten", "Gemm"]


def test_the_order_of_samples_is_left() -> None:
    net = Network(1, (5,))
    turned = net.op("Transpose", net.dense("input", 5, 4), perm=[1, 0])
    mean = net.op("ReduceMean", turned, net.integers(0), keepdims=1)
    values = net.op("Transpose", net.op("Sub", turned, mean), perm=[1, 0])
    model = net.model(net.dense(values, 4, CLASSES))
    assert "Transpose" in kinds(net, model)


def test_an_order_that_something_else_reads_stays_for_it() -> None:
    net = Network(1, (5,))
    hidden = shuffled(net, net.op("Relu", net.dense("input", 5, 12)), (3, 4), (1, 0))
    side = net.op("Softmax", hidden)
    both = net.op("Add", net.dense(hidden, 12, CLASSES), net.dense(side, 12, CLASSES))
    assert "Transpose" in kinds(net, net.model(both))


def test_a_layer_that_is_read_in_two_orders_is_no_two_layers() -> None:
    net = Network(1, (5,))
    hidden = net.dense("input", 5, 12)
    one = net.op("Softmax", shuffled(net, hidden, (3, 4), (1, 0)))
    both = net.op("Add", one, net.op("Relu", hidden))
    assert kinds(net, net.model(net.dense(both, 12, CLASSES))).count("Gemm") == 2


def test_orders_are_followed_as_far_as_is_affordable() -> None:
    """A file may ask for a million features in another order, and that often."""
    net = Network(1, (5,))
    wide = 1 << 20
    column = net.constant(np.ones((5, wide), np.float32))
    head = net.constant(np.ones((wide, 1), np.float32))
    hidden = net.op("MatMul", "input", column)
    ends = [net.op("MatMul", shuffled(net, hidden, (1024, 1024), (1, 0)), head) for _ in range(40)]
    model = net.model(net.op("Concat", *ends[:CLASSES], net.op("Sum", *ends), axis=1))
    began = time.monotonic()
    normal_form(model, where="it")
    assert time.monotonic() - began < 60


steps = st.lists(
    st.one_of(
        st.tuples(st.just("shape"), st.sampled_from(SHAPES)),
        st.tuples(st.just("order"), st.randoms(use_true_random=False)),
    ),
    max_size=6,
)


@given(steps=steps, function=st.sampled_from(["", "Relu", "Tanh"]), at=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_whatever_order_stands_between_matrices_the_function_stays(
    steps: list[tuple[str, object]], function: str, at: int
) -> None:
    net = Network(3, (5,))
    values = net.dense("input", 5, 12)
    shape: tuple[int, ...] = (12,)
    for number, (kind, what) in enumerate(steps):
        if number == at and function:
            values = net.op(function, values)
        if kind == "shape":
            assert isinstance(what, tuple)
            shape = what
            values = net.op("Reshape", values, net.integers(-1, *shape))
        else:
            order = list(range(len(shape)))
            what.shuffle(order)  # type: ignore[attr-defined]  # a generator
            shape = tuple(shape[axis] for axis in order)
            values = net.op("Transpose", values, perm=[0, *(axis + 1 for axis in order)])
    values = net.op("Reshape", values, net.integers(-1, 12))
    left = kinds(net, net.model(net.dense(values, 12, CLASSES)))
    assert "Transpose" not in left
    if not function or at >= len(steps):
        assert left == ["Gemm"]
