"""Damaged files end in one of our errors, never in another exception and never in a crash."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.graph.session import OnnxSuspect
from tests.support.patience import HANG

Damage = list[tuple[int, int]]

damages = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def content() -> bytes:
    """A model with every kind of field that these files have."""
    random = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {
        "w": random.normal(size=(3, 2, 3, 3)).astype(np.float32),
        "b": random.normal(size=3).astype(np.float32),
        "shape": np.array([-1, 12], np.int64),
        "u": random.normal(size=(12, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c", "low"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "u"], ["g"], alpha=0.5),
        helper.make_node("Constant", [], ["low"], value_float=0.0),
        helper.make_node("Softmax", ["g"], ["output"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2, 4, 4])],
        [ValueInfoProto(name="output")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def damaged(content: bytes, damage: Damage) -> bytes:
    changed = bytearray(content)
    for place, value in damage:
        changed[place % len(changed)] = value
    return bytes(changed)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(damage=damages)
def test_a_damaged_file_is_read_trained_and_written_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, damage: Damage
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(damaged(content, damage))
    with suppress(CouldNotCheckError):
        model = OnnxTappedModel.from_file(path, "f")
        model(torch.ones(2, 2, 4, 4))
        model.to_bytes()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(damage=damages)
def test_the_layers_of_a_damaged_file_are_read_in_every_form_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, damage: Damage
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(damaged(content, damage))
    with suppress(CouldNotCheckError):
        suspect = OnnxSuspect(path)
        suspect.networks()
        suspect.remarks()


@settings(max_examples=12, deadline=None, derandomize=True)
@given(damage=damages)
def test_a_damaged_file_is_run_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, damage: Damage
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(damaged(content, damage))
    with suppress(CouldNotCheckError):
        suspect = OnnxSuspect(path, limits=Limits(memory_bytes=2**30, seconds=HANG))
        outputs, _ = suspect.run(np.ones((2, 2, 4, 4), np.float32), tap="f")
        assert len(outputs) == 2
