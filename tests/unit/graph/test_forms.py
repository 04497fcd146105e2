"""The forms in which a file is read: which there are, and at a bounded cost."""

import time
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from deepsigns_registry.attacks.rewrite import REWRITINGS, rewritten
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.forms import read_forms
from tests.support.networks import CLASSES, Network
from tests.unit.graph.conftest import Build

KINDS = {kind.name: kind for kind in REWRITINGS}
EYE = {"w": np.eye(4, dtype=np.float32), "half": np.full(4, 0.5, np.float32)}


def plain() -> ModelProto:
    net = Network(3, (5,))
    return net.model(net.dense(net.op("Relu", net.dense("input", 5, 8)), 8, CLASSES))


def flags(model: ModelProto) -> list[tuple[bool, bool]]:
    return [
        (form.network.rewritten, form.network.partial) for form in read_forms(model, where="it")
    ]


def test_a_plain_file_has_its_own_form_only() -> None:
    assert flags(plain()) == [(False, False)]


def test_normal_forms_come_before_the_file_s_own() -> None:
    turned, _, _ = rewritten(plain(), KINDS["orthogonal"], seed=1)
    assert flags(turned) == [(True, False), (False, False)]
    padded, _, _ = rewritten(turned, KINDS["dummies"], seed=1)
    assert flags(padded) == [(True, False), (True, False), (False, False)]


def test_every_output_is_looked_at_and_a_decoy_is_named() -> None:
    decoy, _, _ = rewritten(plain(), KINDS["decoy"], seed=1)
    forms = read_forms(decoy, where="it")
    assert [(form.network.rewritten, form.network.partial) for form in forms] == [(False, True)] * 2
    assert [form.remarks for form in forms] == [
        (),
        ("output 'output' shares no layer with those before it",),
    ]
    both = plain()
    hidden = both.graph.node[1].output[0]
    both.graph.output.append(ValueInfoProto(name=hidden))
    assert all(not form.remarks for form in read_forms(both, where="it"))


def test_a_gated_file_is_also_read_without_its_gate() -> None:
    net = Network(3, (5,))
    values = net.dense(net.op("Relu", net.dense("input", 5, 8)), 8, CLASSES)
    mean = net.op("ReduceMean", "input", net.integers(1), keepdims=1)
    high = net.op("Greater", mean, net.constant(np.array(0.3, np.float32)))
    blank = net.constant(np.zeros((1, CLASSES), np.float32))
    forms = read_forms(net.model(net.op("Where", high, blank, values)), where="it")
    assert [(form.network.rewritten, form.network.partial) for form in forms] == [
        (True, True),
        (False, False),
    ]
    assert "gate" in forms[0].remarks[0]


def test_a_bounded_file_is_also_read_without_its_bounds() -> None:
    net = Network(3, (5,))
    hidden = net.op("Tanh", net.dense("input", 5, 8))
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0].astype(np.float32)
    turned = net.op("MatMul", hidden, net.constant(turn))
    bounds = [net.constant(np.array(bound, np.float32)) for bound in (-1e3, 1e3)]
    back = net.op("MatMul", net.op("Clip", turned, *bounds), net.constant(turn.T))
    forms = read_forms(net.model(net.dense(back, 8, CLASSES)), where="it")
    assert [(form.network.rewritten, form.network.partial) for form in forms] == [
        *((True, False), (True, True)),
        (False, False),
    ]
    assert [len(form.network.layers) for form in forms] == [3, 2, 4]
    assert not any(form.remarks for form in forms)


def matmul(given: str, result: str) -> NodeProto:
    return helper.make_node("MatMul", [given, "w"], [result])


def layers() -> list[NodeProto]:
    names = ["input", *(f"t{place}" for place in range(9_000)), "output"]
    return [matmul(before, after) for before, after in pairwise(names)]


def factors() -> list[NodeProto]:
    names = ["input", *(f"t{place}" for place in range(9_000)), "output"]
    return [helper.make_node("Mul", [one, "half"], [other]) for one, other in pairwise(names)]


def star() -> list[NodeProto]:
    """Thousands of copies of one tensor, that are all added."""
    copies = [helper.make_node("Identity", ["input"], [f"t{place}"]) for place in range(9_000)]
    return [*copies, helper.make_node("Sum", [node.output[0] for node in copies], ["output"])]


def fan() -> list[NodeProto]:
    """Layers that many layers read, again and again."""
    nodes, names = [], ["input"]
    for level in range(40):
        wide = [matmul(names[place % len(names)], f"t{level} {place}") for place in range(8)]
        nodes += wide
        nodes.append(helper.make_node("Sum", [node.output[0] for node in wide], [f"s{level}"]))
        nodes.append(helper.make_node("Relu", [f"s{level}"], [f"r{level}"]))
        names = [f"s{level}", f"r{level}"]
    return [*nodes, helper.make_node("Relu", ["s39"], ["output"])]


def reshapes() -> list[NodeProto]:
    names = ["input", *(f"t{place}" for place in range(9_000)), "output"]
    return [helper.make_node("Flatten", [one], [other], axis=1) for one, other in pairwise(names)]


def gates() -> list[NodeProto]:
    names = ["input", *(f"t{place}" for place in range(3_000)), "output"]
    nodes = [helper.make_node("Relu", ["input"], ["beside"])]
    return nodes + [
        helper.make_node("Mul", [one, "beside"], [other]) for one, other in pairwise(names)
    ]


@pytest.mark.parametrize("make", [layers, factors, star, fan, reshapes, gates])
def test_a_hostile_graph_costs_a_bounded_time(build: Build, make: object) -> None:
    assert callable(make)
    model = build(make(), EYE)
    start = time.process_time()
    with suppress(CouldNotCheckError):
        read_forms(model, where="file")
    # Measured 0.3 to 6 s.
    assert time.process_time() - start < 60
