from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from deepsigns_registry.graph.locate import without_second_output
from deepsigns_registry.graph.neutral import neutralised

Build = Callable[..., ModelProto]

SECRET = "secret"


def dirty(build: Build) -> ModelProto:
    """A model with the word `secret` in every field that can hold one."""
    inner = numpy_helper.from_array(np.ones(4, np.float32), SECRET)
    inner.doc_string = SECRET
    nodes = [
        helper.make_node("Constant", [], ["secret_c"], value=inner, doc_string=SECRET),
        helper.make_node("Add", ["input", "secret_w"], ["secret_h"], name=SECRET),
        helper.make_node("Mul", ["secret_h", "secret_c"], ["output"]),
    ]
    model = build(nodes, {"secret_w": np.ones(4, np.float32)})
    model.graph.node[0].attribute[0].doc_string = SECRET
    model.graph.name = model.graph.doc_string = SECRET
    model.producer_name = model.producer_version = SECRET
    model.domain = model.doc_string = SECRET
    model.graph.value_info.add(name="secret_h")
    model.graph.initializer[0].doc_string = SECRET
    parts: list[Any] = [model, model.graph, *model.graph.node, *model.graph.initializer]
    for part in parts:
        part.metadata_props.add(key=SECRET, value=SECRET)
    for entry in (*model.graph.input, *model.graph.output):
        entry.doc_string = SECRET
        entry.metadata_props.add(key=SECRET, value=SECRET)
    model.graph.input[0].type.denotation = SECRET
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = SECRET
    return model


def test_no_field_keeps_a_word_of_the_source(build: Build) -> None:
    model = dirty(build)
    clean, tap = neutralised(model, "secret_h")
    assert SECRET.encode() not in clean.SerializeToString()
    assert [list(node.output) for node in clean.graph.node] == [["t0"], ["t1"], ["output"]]
    assert tap == "t1"
    values = [numpy_helper.to_array(tensor) for tensor in clean.graph.initializer]
    np.testing.assert_array_equal(values, [np.ones(4)])


def test_only_what_the_first_output_needs_is_kept(build: Build) -> None:
    nodes = [
        helper.make_node("Add", ["input", "a"], ["h"]),
        helper.make_node("Mul", ["h", "b"], ["second"]),
        helper.make_node("Relu", ["h"], ["output"]),
    ]
    model = build(nodes, {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)})
    model.graph.output.add(name="second")
    kept = without_second_output(model).graph
    assert [node.op_type for node in kept.node] == ["Add", "Relu"]
    assert [tensor.name for tensor in kept.initializer] == ["a"]
    assert [output.name for output in kept.output] == ["output"]
