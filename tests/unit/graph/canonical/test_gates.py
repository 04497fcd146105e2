"""Gates are named, opened where that is asked for, and told from parts of a network."""

import time

import numpy as np
import pytest
from onnx import ModelProto

from deepsigns_registry.graph.canonical import normal_form
from tests.support.networks import CLASSES, Floats, Network, difference, execute

LIMIT = np.array(0.3, np.float32)


def plain(net: Network, values: str) -> str:
    hidden = net.op("Relu", net.dense(values, 5, 8))
    return net.dense(hidden, 8, CLASSES)


def suspicion(net: Network) -> str:
    """One number a sample, from the input past the network: [samples, 1]."""
    mean = net.op("ReduceMean", "input", net.integers(1), keepdims=1)
    return net.op("Greater", mean, net.constant(LIMIT))


def chosen() -> tuple[Network, ModelProto]:
    net = Network(1, (5,))
    values = plain(net, "input")
    blank = net.constant(np.zeros((1, CLASSES), np.float32))
    return net, net.model(net.op("Where", suspicion(net), blank, values))


def multiplied() -> tuple[Network, ModelProto]:
    net = Network(1, (5,))
    values = plain(net, "input")
    passing = net.op("Cast", net.op("Not", suspicion(net)), to=1)
    return net, net.model(net.op("Mul", values, passing))


def blanked() -> tuple[Network, ModelProto]:
    """The input itself is blanked, before the network."""
    net = Network(1, (5,))
    zero = net.constant(np.zeros((1, 5), np.float32))
    return net, net.model(plain(net, net.op("Where", suspicion(net), zero, "input")))


def ungated() -> ModelProto:
    net = Network(1, (5,))
    return net.model(plain(net, "input"))


def answers(model: ModelProto, inputs: Floats) -> Floats:
    return execute(model, inputs)[0]


@pytest.mark.parametrize("gated", [chosen, multiplied, blanked])
def test_a_gate_is_named_and_can_be_opened(gated: object) -> None:
    assert callable(gated)
    net, model = gated()
    inputs = np.concatenate([net.inputs(), net.inputs() + 2])
    named = normal_form(model, where="it")
    assert named.gates == 1
    assert "gate" in named.remarks[0]
    assert difference(model, named.model, inputs) < 1e-5
    bare = answers(ungated(), inputs)
    assert np.abs(answers(model, inputs) - bare).max() > 0.1
    opened = normal_form(model, where="it", opened=True)
    np.testing.assert_allclose(answers(opened.model, inputs), bare, rtol=1e-4, atol=1e-5)
    kinds = [node.op_type for node in opened.model.graph.node]
    assert not {"Where", "Mul", "Greater"} & set(kinds)


def test_attention_to_channels_is_no_gate() -> None:
    """Its factor is computed of the values that it multiplies."""
    net = Network(1, (5,))
    hidden = net.op("Relu", net.dense("input", 5, 8))
    factor = net.op("Sigmoid", net.dense(hidden, 8, 8))
    model = net.model(net.dense(net.op("Mul", hidden, factor), 8, CLASSES))
    assert normal_form(model, where="it").gates == 0


def test_two_values_of_one_layer_are_no_gate() -> None:
    net = Network(1, (5,))
    hidden = net.op("Relu", net.dense("input", 5, 8))
    one, other = net.dense(hidden, 8, CLASSES), net.op("Sigmoid", net.dense(hidden, 8, CLASSES))
    assert normal_form(net.model(net.op("Mul", one, other)), where="it").gates == 0


def test_a_closed_gate_that_adds_is_left_out() -> None:
    net = Network(1, (5,))
    values = plain(net, "input")
    shut = net.op("Cast", suspicion(net), to=1)
    one = net.constant(np.ones(1, np.float32))
    kept = net.op("Mul", values, net.op("Sub", one, shut))
    noise = net.op("Mul", shut, net.weight(1, CLASSES))
    model = net.model(net.op("Add", kept, noise))
    inputs = net.inputs() + 2
    opened = normal_form(model, where="it", opened=True)
    np.testing.assert_allclose(
        answers(opened.model, inputs), answers(ungated(), inputs), rtol=1e-4, atol=1e-5
    )


def test_constants_of_a_gate_stay_constants() -> None:
    """A choice by a fixed mask is no gate."""
    net = Network(1, (5,))
    mask = net.constant(np.array([[True, False, True]]))
    zero = net.constant(np.zeros((1, CLASSES), np.float32))
    model = net.model(net.op("Where", mask, plain(net, "input"), zero))
    assert normal_form(model, where="it").gates == 0


def test_many_sums_behind_a_gate_cost_time_linear_in_the_graph() -> None:
    net = Network(1, (5,))
    values = net.op("Mul", plain(net, "input"), net.op("Cast", suspicion(net), to=1))
    for _ in range(6000):
        values = net.op("Add", values, values)
    start = time.process_time()
    assert normal_form(net.model(values), where="it", opened=True).gates == 1
    # It took minutes, and the square of that for a file of the largest size.
    assert time.process_time() - start < 60
