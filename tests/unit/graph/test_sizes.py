"""How many samples fit, from sizes that are declared or follow."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

from deepsigns_registry.graph.sizes import MOST_ROWS, TooLargeError, rows_at_once, without_weights

Build = Callable[..., ModelProto]

MIB = 2**20


def written(tmp_path: Path, model: ModelProto) -> Path:
    path = tmp_path / "sizes.onnx"
    path.write_bytes(without_weights(model).SerializeToString())
    return path


@pytest.fixture
def wide(build: Build) -> ModelProto:
    """Four features become 2^18 values of four bytes, a mebibyte a sample, twice."""
    weight = np.zeros((4, 2**18), np.float32)
    nodes = [
        helper.make_node("MatMul", ["input", "weight"], ["h"]),
        helper.make_node("Relu", ["h"], ["g"]),
        helper.make_node("ReduceMax", ["g"], ["output"], keepdims=0),
    ]
    return build(nodes, {"weight": weight})


def test_weights_are_left_out_and_counted(tmp_path: Path, wide: ModelProto) -> None:
    path = written(tmp_path, wide)
    assert path.stat().st_size < 2_000
    # The weight alone takes four mebibytes, one sample two more.
    assert rows_at_once(path, (4,), 7 * MIB) == 1
    with pytest.raises(TooLargeError) as caught:
        rows_at_once(path, (4,), 6 * MIB)
    assert 6 * MIB < caught.value.needed < 6 * MIB + 1000


@given(rows=st.integers(0, 9))
def test_half_of_what_is_allowed_is_filled(
    tmp_path_factory: pytest.TempPathFactory, rows: int
) -> None:
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Expand", ["input", "shape"], ["h"]),
                helper.make_node("Flatten", ["h"], ["output"]),
            ],
            "graph",
            [helper.make_tensor_value_info("input", 1, ["batch", 1, 4])],
            [helper.make_tensor_value_info("output", 1, ["batch", 2**18])],
            [helper.make_tensor("shape", 7, [3], [1, 2**16, 4])],
        )
    )
    path = written(tmp_path_factory.mktemp("sizes"), model)
    allowed = 2 * (2 * 2**rows * MIB + 100 * 2**rows)
    assert rows_at_once(path, (1, 4), allowed) == min(2**rows, MOST_ROWS)


def test_a_file_that_says_how_many_gets_as_many(tmp_path: Path, wide: ModelProto) -> None:
    wide.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    path = written(tmp_path, wide)
    assert rows_at_once(path, (4,), 11 * MIB) == 3
    with pytest.raises(TooLargeError):
        rows_at_once(path, (4,), 10 * MIB)


def test_what_is_read_no_more_is_held_no_more(tmp_path: Path, build: Build) -> None:
    names = ["input", *(f"t{place}" for place in range(50)), "output"]
    chain = [helper.make_node("Relu", [one], [next_]) for one, next_ in pairwise(names)]
    path = written(tmp_path, build(chain))
    # Input, and two of the chain.
    assert rows_at_once(path, (4,), 3 * MOST_ROWS * 16 * 2) == MOST_ROWS
    assert rows_at_once(path, (4,), 3 * MOST_ROWS * 16 * 2 - 1) == MOST_ROWS // 2


@pytest.mark.parametrize("extent", [-1, 0])
def test_lies_about_sizes_are_no_sizes(tmp_path: Path, build: Build, extent: int) -> None:
    model = build([helper.make_node("Relu", ["input"], ["output"])])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = extent
    model.graph.output[0].type.tensor_type.shape.dim.add(dim_value=-(2**60))
    assert rows_at_once(written(tmp_path, model), (4,), MIB) == MOST_ROWS


def test_a_graph_without_inputs_or_with_nonsense_has_no_sizes(tmp_path: Path, build: Build) -> None:
    model = build([helper.make_node("Nonsense", ["input"], ["output"])])
    assert rows_at_once(written(tmp_path, model), (4,), MIB) == MOST_ROWS
    del model.graph.input[:]
    assert rows_at_once(written(tmp_path, model), (4,), MIB) == MOST_ROWS
