import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    helper,
    numpy_helper,
)

from deepsigns_registry.errors import CouldNotCheckError, NotFoundError
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.graph.structure import _fields_with_data, read_model

Build = Callable[..., ModelProto]


def write(path: Path, model: ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_a_plain_model_is_read(relu_file: Path) -> None:
    assert [node.op_type for node in read_model(relu_file).graph.node] == ["Relu"]


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        read_model(tmp_path / "missing.onnx")


@pytest.mark.parametrize(
    "content",
    [b"", b"no ONNX at all", b"PK\x03\x04" + bytes(100), bytes(range(256)) * 10, b"\x08\x0a"],
    ids=["empty", "text", "zip", "bytes", "no graph"],
)
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CouldNotCheckError, match="is no ONNX model"):
        read_model(path)


def test_a_truncated_file_is_refused(tmp_path: Path, build: Build) -> None:
    weight = np.ones((4, 64), np.float32)
    node = helper.make_node("MatMul", ["input", "w"], ["output"])
    content = build([node], {"w": weight}).SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(CouldNotCheckError):
            read_model(path)


def test_links_are_followed_as_an_audit_does(tmp_path: Path, relu_file: Path) -> None:
    hard, soft = tmp_path / "hard.onnx", tmp_path / "soft.onnx"
    os.link(relu_file, hard)
    soft.symlink_to(relu_file)
    assert read_model(hard) == read_model(soft) == read_model(relu_file)


def test_a_link_to_nothing_and_one_to_itself_are_told(tmp_path: Path) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to(tmp_path / "gone.onnx")
    with pytest.raises(NotFoundError, match="no such file"):
        read_model(link)
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(CouldNotCheckError, match="cannot be opened"):
        read_model(link)


def test_folders_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, Path("/dev/zero")):
        with pytest.raises(CouldNotCheckError, match="not a regular file"):
            read_model(path)


def test_a_large_file_is_refused_by_its_size(relu_file: Path) -> None:
    with pytest.raises(CouldNotCheckError, match="the limit is 10"):
        read_model(relu_file, limits=Limits(file_bytes=10))


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "weights.bin"])
def test_external_data_is_refused_wherever_it_is(
    tmp_path: Path, build: Build, location: str
) -> None:
    model = build([helper.make_node("Add", ["input", "w"], ["output"])])
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    model.graph.initializer.append(tensor)
    with pytest.raises(CouldNotCheckError, match="in another file"):
        read_model(write(tmp_path / "model.onnx", model))


def test_external_data_in_a_constant_node_is_refused(tmp_path: Path, build: Build) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32))
    tensor.external_data.add(key="location", value="x")
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    model = build([constant, helper.make_node("Add", ["input", "w"], ["output"])])
    with pytest.raises(CouldNotCheckError, match="in another file"):
        read_model(write(tmp_path / "model.onnx", model))


def _sparse(**changes: object) -> SparseTensorProto:
    values = numpy_helper.from_array(np.ones(1, np.float32))
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    tensor = helper.make_sparse_tensor(values, indices, [4])
    for name in changes:
        held = getattr(tensor, name)
        held.data_location = TensorProto.EXTERNAL
        held.external_data.add(key="location", value="x")
    return tensor


@pytest.mark.parametrize("part", ["values", "indices"])
@pytest.mark.parametrize("field", ["sparse_tensor", "sparse_tensors"])
def test_external_data_of_a_sparse_tensor_in_an_attribute_is_refused(
    tmp_path: Path, build: Build, field: str, part: str
) -> None:
    node = helper.make_node("Relu", ["input"], ["output"])
    attribute = node.attribute.add(name="value")
    if field == "sparse_tensor":
        attribute.sparse_tensor.CopyFrom(_sparse(**{part: True}))
    else:
        attribute.sparse_tensors.append(_sparse())
        attribute.sparse_tensors.append(_sparse(**{part: True}))
    with pytest.raises(CouldNotCheckError, match="in another file"):
        read_model(write(tmp_path / "model.onnx", build([node])))


def test_sparse_tensors_are_refused_wherever_they_are(tmp_path: Path, build: Build) -> None:
    node = helper.make_node("Relu", ["input"], ["output"])
    inside = build([node])
    node.attribute.add(name="value").sparse_tensors.append(_sparse())
    with pytest.raises(CouldNotCheckError, match="sparse tensors"):
        read_model(write(tmp_path / "attribute.onnx", build([node])))
    inside.graph.sparse_initializer.append(_sparse(values=True))
    with pytest.raises(CouldNotCheckError, match="sparse tensors"):
        read_model(write(tmp_path / "initializer.onnx", inside))


def test_every_field_of_the_format_that_holds_a_tensor_is_known() -> None:
    """Another one comes with a later release of the format: whether it is safe is to be seen."""
    messages = (ModelProto, GraphProto, NodeProto, AttributeProto, SparseTensorProto)
    assert {m.DESCRIPTOR.name: _fields_with_data(m.DESCRIPTOR) for m in messages} == {
        "ModelProto": ("graph", "training_info", "functions"),
        "GraphProto": ("node", "initializer", "sparse_initializer"),
        "NodeProto": ("attribute",),
        "AttributeProto": ("t", "g", "sparse_tensor", "tensors", "graphs", "sparse_tensors"),
        "SparseTensorProto": ("values", "indices"),
    }


def test_a_tensor_of_very_many_axes_is_refused(tmp_path: Path, build: Build) -> None:
    """The product of a million extents would take minutes."""
    model = build([helper.make_node("Relu", ["input"], ["output"])])
    model.graph.initializer.append(
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**62] * 1_000_000)
    )
    started = time.monotonic()
    with pytest.raises(CouldNotCheckError, match="1000000 axes, the limit is 64"):
        read_model(write(tmp_path / "model.onnx", model))
    assert time.monotonic() - started < 5


def test_very_many_attributes_are_refused(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepsigns_registry.graph.structure._MOST_MESSAGES", 100)
    node = helper.make_node("Relu", ["input"], ["output"])
    node.attribute.extend([AttributeProto(i=1)] * 100)
    with pytest.raises(CouldNotCheckError, match="more than 100 parts"):
        read_model(write(tmp_path / "model.onnx", build([node])))


def test_an_endless_loop_is_refused(tmp_path: Path, build: Build) -> None:
    condition = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["in"], ["go"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("in", TensorProto.BOOL, []),
        ],
        [condition],
    )
    loop = helper.make_node("Loop", ["", "yes"], [], body=body)
    relu = helper.make_node("Relu", ["input"], ["output"])
    model = build([loop, relu], {"yes": np.array(True)})
    with pytest.raises(CouldNotCheckError, match="operator Loop"):
        read_model(write(tmp_path / "model.onnx", model))


def test_foreign_domains_and_compiled_programs_are_refused(tmp_path: Path, build: Build) -> None:
    for domain, operator in (("evil.example", "Relu"), ("com.microsoft", "EPContext")):
        node = helper.make_node(operator, ["input"], ["output"], domain=domain)
        with pytest.raises(CouldNotCheckError, match=operator):
            read_model(write(tmp_path / f"{operator}.onnx", build([node])))


def test_local_functions_are_refused(tmp_path: Path, build: Build) -> None:
    model = build([helper.make_node("Relu", ["input"], ["output"])])
    model.functions.add(name="f", domain="")
    with pytest.raises(CouldNotCheckError, match="local functions"):
        read_model(write(tmp_path / "model.onnx", model))


def test_too_many_nodes_or_constants_are_refused(tmp_path: Path, build: Build) -> None:
    nodes = [helper.make_node("Relu", ["input"], ["output"])] * 3
    path = write(tmp_path / "model.onnx", build(nodes, {"a": np.ones(1), "b": np.ones(1)}))
    with pytest.raises(CouldNotCheckError, match="3 nodes, the limit is 2"):
        read_model(path, limits=Limits(nodes=2))
    with pytest.raises(CouldNotCheckError, match="2 initializers, the limit is 1"):
        read_model(path, limits=Limits(initializers=1))


@pytest.mark.parametrize(("extents", "said"), [([2**40], "more values"), ([-1], "negative")])
def test_tensors_that_lie_about_their_size_are_refused(
    tmp_path: Path, build: Build, extents: list[int], said: str
) -> None:
    model = build([helper.make_node("Add", ["input", "w"], ["output"])])
    model.graph.initializer.append(
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=extents, raw_data=b"1234")
    )
    with pytest.raises(CouldNotCheckError, match=said):
        read_model(write(tmp_path / "model.onnx", model))


def test_a_name_that_is_no_text_is_refused(tmp_path: Path, build: Build) -> None:
    model = build([helper.make_node("Relu", ["input"], ["output"], name="marker")])
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString().replace(b"marker", b"mark\x80r"))
    with pytest.raises(CouldNotCheckError, match="no text"):
        read_model(path)
