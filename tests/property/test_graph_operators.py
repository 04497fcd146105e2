"""Every operator of the trainable interpreter gives what onnxruntime, the oracle, gives.

The cases are in `tests/support/operator_cases`, one file a family, named like the operators'.
"""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ValueInfoProto, helper, numpy_helper

from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.operators import OPERATORS
from tests.support.operator_cases import arithmetic, layers, quantized, recurrent, shapes
from tests.support.operator_cases.case import Array, Case, Cases

CASES = Cases(
    {
        **arithmetic.CASES,
        **layers.CASES,
        **quantized.CASES,
        **recurrent.CASES,
        **shapes.CASES,
    }
)


def test_every_operator_has_a_case() -> None:
    assert set(CASES) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(CASES), ids=lambda name: "-".join(filter(None, name)))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_operator_gives_what_onnxruntime_gives(name: tuple[str, str], data: st.DataObject) -> None:
    drawn = data.draw(st.composite(CASES[name])())
    expected, got = _both(name, drawn)
    for theirs, ours in zip(expected, got, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(
            ours.astype(np.float64),
            theirs.astype(np.float64),
            rtol=drawn.tolerance,
            atol=drawn.tolerance,
        )


def _both(name: tuple[str, str], drawn: Case) -> tuple[list[Array], list[Array]]:
    domain, operator = name
    names = [f"i{index}" if value is not None else "" for index, value in enumerate(drawn.inputs)]
    while not names[-1]:
        names.pop()
    outputs = [f"o{index}" for index in range(drawn.outputs)]
    node = helper.make_node(operator, names, outputs, domain=domain, **drawn.attributes)
    first = drawn.inputs[0]
    assert first is not None
    kind = helper.np_dtype_to_tensor_dtype(first.dtype)
    constants = [
        numpy_helper.from_array(value, f"i{index}")
        for index, value in enumerate(drawn.inputs)
        if index and value is not None
    ]
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("i0", kind, None)],
        [ValueInfoProto(name=output) for output in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", drawn.opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    expected = session.run(outputs, {"i0": first})
    tensors = OnnxTappedModel.from_proto(model).eval().tensors(torch.from_numpy(first.copy()))
    got = [tensors[output] for output in outputs]
    return expected, [value.detach().numpy() for value in got if value is not None]
