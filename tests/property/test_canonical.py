"""Normal forms compute what files compute, and are the same for all rewrites of one.

Oracle: onnxruntime, which runs both sides. Tolerance: sums of float32 in another order, relative to
the largest output, 1e-4 where a random matrix and its inverse stand between.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from deepsigns_registry.attacks.rewrite import REWRITINGS, Rewriting, rewritten
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.canonical import normal_form
from deepsigns_registry.graph.wiring import read_network
from deepsigns_registry.watermark.blueprint import Network as Wiring
from tests.support.networks import (
    Floats,
    Network,
    convolutional,
    difference,
    execute,
    multilayer,
    residual,
    transformer,
)

Make = Callable[[Callable[[list[Any]], Any], int], tuple[Network, ModelProto]]
NETWORKS: dict[str, Make] = {
    kind.__name__: kind for kind in (multilayer, convolutional, residual, transformer)
}
CLOSE, TURNED = 2e-5, 2e-4
# Logits that a softmax rounds to nothing do not come back.
KINDS = {kind.name: kind for kind in REWRITINGS}
INVERTIBLE = [kind for kind in REWRITINGS if kind.name not in {"probabilities", "decoy"}]
kinds = st.sampled_from(INVERTIBLE)
makers = st.sampled_from(sorted(NETWORKS))
seeds = st.integers(0, 10_000)


def network(kind: str, seed: int) -> tuple[Network, ModelProto]:
    drawn = np.random.default_rng(seed)
    return NETWORKS[kind](lambda among: among[drawn.integers(len(among))], seed)


def answer(model: ModelProto, inputs: Floats) -> Floats:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: Floats = session.run(None, {session.get_inputs()[0].name: inputs})[0]
    return outputs


@settings(max_examples=60, deadline=None)
@given(kind=makers, seed=seeds, merged=st.booleans())
def test_the_normal_form_computes_the_same(kind: str, seed: int, *, merged: bool) -> None:
    net, model = network(kind, seed)
    form = normal_form(model, where="it", merged=merged)
    assert difference(model, form.model, net.inputs()) < CLOSE
    again = normal_form(form.model, where="it", merged=merged)
    # It is its own normal form.
    kinds = [node.op_type for node in form.model.graph.node]
    assert [node.op_type for node in again.model.graph.node] == kinds


@settings(max_examples=40, deadline=None)
@given(kind=makers, seed=seeds)
def test_tensors_that_are_left_have_their_names_and_values(kind: str, seed: int) -> None:
    net, model = network(kind, seed)
    form = normal_form(model, where="it")
    before = {name for node in model.graph.node for name in node.output}
    left = [name for node in form.model.graph.node for name in node.output if name in before]
    hidden = [name for name in left if name != "output"]
    functions = {"Relu", "LeakyRelu", "Tanh", "Sigmoid", "Gelu", "Elu", "HardSwish", "PRelu"}
    behind = {node.output[0] for node in model.graph.node if node.op_type in functions}
    assert behind <= set(left)
    values = execute(model, net.inputs(), *hidden)[1:]
    others = execute(form.model, net.inputs(), *hidden)[1:]
    for one, other in zip(values, others, strict=True):
        scale = max(float(np.abs(one).max(initial=0)), 1e-6)
        # A variance near zero makes much of how sums are rounded; another tensor is far away.
        assert float(np.abs(one - other).max(initial=0)) < 1e-2 * scale


def shapes(wiring: Wiring) -> list[tuple[int, ...]]:
    return [layer.weight.shape for layer in wiring.layers]


@settings(max_examples=80, deadline=None)
@given(kind=makers, seed=seeds, first=kinds, second=kinds)
@example("convolutional", 0, KINDS["dummies"], KINDS["extra-class"])
@example("multilayer", 128, KINDS["dummies"], KINDS["orthogonal"])
def test_two_rewrites_are_undone(kind: str, seed: int, first: Rewriting, second: Rewriting) -> None:
    net, model = network(kind, seed)
    try:
        once, _, inner = rewritten(model, first, seed=seed)
        twice, _, outer = rewritten(once, second, seed=seed + 1)
    except CouldNotCheckError:
        assume(condition=False)
        raise
    inputs = net.inputs()
    expected = answer(model, inputs)
    asked = outer.inputs(inner.inputs(inputs))
    scale = float(np.abs(expected).max())

    def error(changed: ModelProto) -> float:
        given = inner.outputs(outer.outputs(answer(changed, asked)))
        return float(np.abs(given - expected).max()) / scale

    # Inputs that are 255 times as large, and their inverse, cost two digits of the shift.
    assert error(twice) < 50 * TURNED
    form = normal_form(twice, where="it", merged=True)
    assert error(form.model) < 50 * TURNED
    plain = shapes(read_network(normal_form(model, where="it", merged=True).model, where="it"))
    found = shapes(read_network(form.model, where="it"))
    added = [first.name, second.name].count("extra-class")
    *_, (classes, columns) = plain
    if added and first.name == "dummies":
        # Each has an effect on the class that was added behind them, and on nothing else.
        assert found[-1][0] == classes + added
        return
    assert found[:-1] == plain[:-1]
    assert found[-1] == (classes + added, columns)


@pytest.mark.parametrize("kind", REWRITINGS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("made", ["multilayer", "convolutional", "residual"])
def test_a_rewrite_keeps_the_function_and_no_name(kind: Rewriting, made: str) -> None:
    changed = 0
    for seed in range(3):
        net, model = network(made, seed)
        inputs = net.inputs()
        try:
            one, tap, interface = rewritten(model, kind, seed=seed, tap="t1")
            other, _, _ = rewritten(model, kind, seed=seed, tap="t1")
        except CouldNotCheckError:
            continue
        changed += 1
        assert one == other
        names = {name for node in one.graph.node for name in (*node.input, *node.output)}
        assert not names & {f"t{number}" for number in range(99)}
        assert not tap or tap in names
        if kind.name == "decoy":
            with pytest.raises(AssertionError):
                np.testing.assert_allclose(answer(one, inputs), answer(model, inputs), atol=1e-3)
            del one.graph.output[0]
        given, expected = answer(one, interface.inputs(inputs)), answer(model, inputs)
        if kind.name == "probabilities":
            np.testing.assert_array_equal(given.argmax(1), expected.argmax(1))
            continue
        scale = float(np.abs(expected).max())
        assert float(np.abs(interface.outputs(given) - expected).max()) < TURNED * scale
    refusing = {("dummies", "multilayer"), ("channels-last", "multilayer"), ("dummies", "residual")}
    assert changed or (kind.name, made) in refusing
