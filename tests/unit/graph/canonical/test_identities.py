"""Steps that change nothing: dropped where that is so, kept where it only looks so."""

import numpy as np
import pytest

from deepsigns_registry.graph.canonical import normal_form
from tests.support.networks import CLASSES, Network, difference

CLOSE = 1e-5


@pytest.mark.parametrize(
    ("kind", "bounds", "more", "bends"),
    [
        ("LeakyRelu", (), {"alpha": 1.0}, False),
        ("LeakyRelu", (), {"alpha": 0.5}, True),
        ("LeakyRelu", (), {}, True),
        ("PRelu", (1.0,), {}, False),
        ("PRelu", (0.9,), {}, True),
        ("Clip", (), {}, False),
        ("Clip", (-np.inf, np.inf), {}, False),
        ("Clip", (-np.inf, 0.1), {}, True),
        ("Clip", (-0.1, np.inf), {}, True),
    ],
)
def test_what_bends_nothing_is_no_layer_between_two(
    kind: str, bounds: tuple[float, ...], more: dict[str, object], bends: bool
) -> None:
    """Between an orthogonal matrix and its inverse it would keep both from being folded."""
    net = Network(1, (5,))
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0].astype(np.float32)
    turned = net.op("MatMul", "input", net.constant(turn))
    given = [net.constant(np.array(bound, np.float32)) for bound in bounds]
    back = net.op("MatMul", net.op(kind, turned, *given, **more), net.constant(turn.T))
    model = net.model(net.dense(net.op("Relu", net.dense(back, 5, 4)), 4, CLASSES))
    form = normal_form(model, where="it")
    assert difference(model, form.model, net.inputs()) < CLOSE
    kinds = [node.op_type for node in form.model.graph.node]
    assert (kind in kinds) == bends
    assert (len([name for name in kinds if name in {"Gemm", "MatMul"}]) > 2) == bends
