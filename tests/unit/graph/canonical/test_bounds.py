"""Bounds that values may never reach: counted, dropped where that is asked for, else left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from deepsigns_registry.graph.canonical import normal_form
from tests.support.networks import CLASSES, Network, difference, execute

CLOSE = 1e-5


def scalar(net: Network, value: float) -> str:
    return net.constant(np.array(value, np.float32))


def clipped(net: Network, values: str, low: float, high: float) -> str:
    return net.op("Clip", values, scalar(net, low), scalar(net, high))


def least(net: Network, values: str, low: float, high: float) -> str:
    return net.op("Min", scalar(net, high), net.op("Max", values, scalar(net, low)))


def bounded(net: Network, bound: str, low: float, high: float) -> ModelProto:
    """An orthogonal matrix, bounds, and its inverse, before a network."""
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0].astype(np.float32)
    turned = net.op("MatMul", "input", net.constant(turn))
    cut = {"Clip": clipped, "Min": least}[bound](net, turned, low, high)
    back = net.op("MatMul", cut, net.constant(turn.T))
    return net.model(net.dense(net.op("Relu", net.dense(back, 5, 4)), 4, CLASSES))


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node][:-1]


@pytest.mark.parametrize(("bound", "count"), [("Clip", 1), ("Min", 2)])
def test_bounds_are_dropped_where_that_is_asked_for(bound: str, count: int) -> None:
    net = Network(1, (5,))
    model = bounded(net, bound, -1e4, 1e4)
    kept = normal_form(model, where="it")
    assert (kept.bounds, kept.gates, kept.remarks) == (count, 0, ())
    assert bound in kinds(kept.model)
    form = normal_form(model, where="it", unbounded=True)
    assert kinds(form.model) == ["Gemm", "Relu", "Gemm"]
    assert difference(model, form.model, net.inputs()) < CLOSE
    # Where a bound is reached it is another function.
    assert difference(model, form.model, net.inputs() * np.float32(1e6)) > 0.1


@pytest.mark.parametrize(
    ("low", "high", "counts"),
    [
        (-1.0, 1.0, True),
        (-np.inf, 3.0, True),
        (-3.0, np.inf, True),
        (0.0, 6.0, False),
        (-np.inf, np.inf, False),
        (1.0, 2.0, False),
        (-2.0, 0.0, False),
        (np.nan, 1.0, False),
    ],
)
def test_a_rectifier_is_no_bound(low: float, high: float, *, counts: bool) -> None:
    net = Network(1, (5,))
    form = normal_form(bounded(net, "Clip", low, high), where="it")
    assert form.bounds == int(counts)


def test_bounds_of_an_older_file_are_attributes() -> None:
    net = Network(1, (5,))
    hidden = net.op("Clip", net.dense("input", 5, 4), min=-9.0, max=9.0)
    model = net.model(net.dense(hidden, 4, CLASSES))
    assert normal_form(model, where="it").bounds == 1
    assert kinds(normal_form(model, where="it", unbounded=True).model) == ["Gemm"]


@pytest.mark.parametrize("given", [[], ["input"], ["input", "input"], ["input", "w", "w", "w"]])
@pytest.mark.parametrize("kind", ["Clip", "Min", "Max"])
def test_a_node_of_another_form_is_no_bound(kind: str, given: list[str]) -> None:
    net = Network(1, (5,))
    model = net.model(net.dense("input", 5, CLASSES))
    net.constant(np.ones(5, np.float32))
    model.graph.node.insert(0, helper.make_node(kind, given, ["side"]))
    form = normal_form(model, where="it", unbounded=True)
    assert (form.bounds, kinds(form.model)) == (0, ["Gemm"])


@given(
    low=st.floats(-3, 3, width=32),
    high=st.floats(-3, 3, width=32),
    bound=st.sampled_from(["Clip", "Min"]),
)
@settings(max_examples=40, deadline=None)
def test_what_reaches_no_bound_is_given_as_before(low: float, high: float, bound: str) -> None:
    net = Network(4, (5,))
    model = bounded(net, bound, low, high)
    # By the form itself a bound counts, whatever it is: nothing may change.
    assert difference(model, normal_form(model, where="it").model, net.inputs()) < CLOSE
    dropped = normal_form(model, where="it", unbounded=True).model
    inputs = np.random.default_rng(3).normal(size=(200, 5)).astype(np.float32)
    values = execute(model, inputs, "t0")[1]
    inside = ((values > low) & (values < high)).all(axis=1)
    before, behind = execute(model, inputs)[0], execute(dropped, inputs)[0]
    np.testing.assert_allclose(before[inside], behind[inside], rtol=1e-4, atol=1e-5)
