"""Weights that are said to be in other files, and what these could be."""

import os
from collections.abc import Callable
from pathlib import Path

from onnx import AttributeProto, ModelProto, SparseTensorProto, TensorProto, helper

from benchmarks.hostile.graphs import constant, node, value
from benchmarks.hostile.tricks.writing import before, behind, ordinary, written


def _outside(tensor: TensorProto, location: str, **further: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, said in {"location": location, **further}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, said


def _weights_at(folder: Path, location: str, **further: str) -> Path:
    model = ordinary()
    _outside(model.graph.initializer[0], location, **further)
    return written(folder, model)


def weights_at_an_absolute_path(folder: Path) -> Path:
    return _weights_at(folder, "/etc/passwd")


def weights_in_the_folder_above(folder: Path) -> Path:
    return _weights_at(folder, "../../../../etc/passwd")


def weights_beside_the_file(folder: Path) -> Path:
    (folder / "weights").write_bytes(bytes(64 * 96 * 4))
    return _weights_at(folder, "weights")


def weights_behind_a_link(folder: Path) -> Path:
    (folder / "weights").symlink_to("/etc/passwd")
    return _weights_at(folder, "weights")


def weights_behind_a_hard_link(folder: Path) -> Path:
    (folder / "secret").write_bytes(bytes(64 * 96 * 4))
    (folder / "weights").hardlink_to(folder / "secret")
    return _weights_at(folder, "weights")


def weights_in_an_endless_device(folder: Path) -> Path:
    return _weights_at(folder, "/dev/zero")


def weights_in_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "weights")
    return _weights_at(folder, "weights")


def weights_in_a_folder(folder: Path) -> Path:
    (folder / "weights").mkdir()
    return _weights_at(folder, "weights")


def weights_in_the_memory_of_the_process(folder: Path) -> Path:
    return _weights_at(folder, "/proc/self/mem", offset="4096", length="24576")


def weights_at_a_negative_place(folder: Path) -> Path:
    return _weights_at(folder, "suspect.onnx", offset="-1", length="99999999999999")


def weights_at_an_address_of_the_web(folder: Path) -> Path:
    return _weights_at(folder, "http://127.0.0.1:9/weights")


def weights_at_an_address_of_memory(folder: Path) -> Path:
    """How onnxruntime itself says that an initializer is in memory already."""
    return _weights_at(folder, "*/_ORT_MEM_ADDR_/*", offset="4096", length="24576")


def outside_without_saying_so(folder: Path) -> Path:
    """Entries without the location's flag."""
    model = ordinary()
    _outside(model.graph.initializer[0], "/etc/passwd")
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    return written(folder, model)


def outside_in_an_attribute(folder: Path) -> Path:
    tensor = constant("t", [0.0] * 64)
    _outside(tensor, "/etc/passwd")
    made = node("Constant", [], ["c"], value=tensor)
    return written(folder, before([made, node("Add", ["f", "c"], ["made"])]))


def outside_in_a_list_of_tensors(folder: Path) -> Path:
    model = ordinary()
    tensor = constant("t", [0.0] * 64)
    _outside(tensor, "/etc/passwd")
    model.graph.node[0].attribute.append(helper.make_attribute("more", [tensor]))
    return written(folder, model)


def outside_in_a_branch(folder: Path) -> Path:
    tensor = constant("t", [[0.0] * 64])
    _outside(tensor, "/etc/passwd")
    branch = helper.make_graph(
        [node("Add", ["f", "t"], ["b"])], "b", [], [value("b", ["batch", 64])], [tensor]
    )
    chosen = node("If", ["yes"], ["made"], then_branch=branch, else_branch=branch)
    return written(folder, before([chosen], [constant("yes", True, bool)]))


def outside_in_a_function(folder: Path) -> Path:
    tensor = constant("t", [0.0] * 64)
    _outside(tensor, "/etc/passwd")
    inner = [node("Constant", [], ["c"], value=tensor), node("Add", ["x", "c"], ["y"])]
    function = helper.make_function("", "Own", ["x"], ["y"], inner, [helper.make_opsetid("", 20)])
    return written(folder, before([node("Own", ["f"], ["made"])], functions=[function]))


def _sparse(location: str, part: str) -> SparseTensorProto:
    values, places = constant("s", [1.0, 2.0]), constant("", [0, 5], "int64")
    _outside(values if part == "values" else places, location)
    return helper.make_sparse_tensor(values, places, [64])


def _sparse_initializer(folder: Path, part: str) -> Path:
    model = before([node("Add", ["f", "s"], ["made"])])
    model.graph.sparse_initializer.append(_sparse("/etc/passwd", part))
    return written(folder, model)


def outside_in_a_sparse_tensor(folder: Path) -> Path:
    return _sparse_initializer(folder, "values")


def outside_in_places_of_a_sparse_tensor(folder: Path) -> Path:
    return _sparse_initializer(folder, "indices")


def _sparse_attribute(folder: Path, add: Callable[[ModelProto], None]) -> Path:
    model = before(
        [node("Constant", [], ["s"], value_float=1.0), node("Add", ["f", "s"], ["made"])]
    )
    add(model)
    return written(folder, model)


def outside_in_a_sparse_attribute(folder: Path) -> Path:
    def add(model: ModelProto) -> None:
        del model.graph.node[1].attribute[:]
        attribute = helper.make_attribute("sparse_value", _sparse("/etc/passwd", "values"))
        model.graph.node[1].attribute.append(attribute)

    return _sparse_attribute(folder, add)


def outside_in_a_list_of_sparse_tensors(folder: Path) -> Path:
    def add(model: ModelProto) -> None:
        attribute = model.graph.node[1].attribute.add()
        attribute.name = "sparse_values"
        attribute.type = AttributeProto.SPARSE_TENSORS
        attribute.sparse_tensors.extend([_sparse("/etc/passwd", "indices")])

    return _sparse_attribute(folder, add)


def outside_in_training_information(folder: Path) -> Path:
    model = behind([node("Identity", ["logits"], ["output"])])
    tensor = constant("t", [0.0])
    _outside(tensor, "/etc/passwd")
    model.training_info.add().initialization.initializer.append(tensor)
    return written(folder, model)
