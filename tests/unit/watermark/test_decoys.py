"""Files with a branch that is there to be read: never absent, whatever stands in it.

Each gives the marked model's outputs. The network's hidden tensors have other names, a layer that
changes nothing stands in front of it, and before that the marked weights with other biases, or a
model that has no mark, under other names or under the network's own.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.align import align
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.verdict import judge
from tests.unit.watermark.test_alignment import exported, known

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked


def renamed(nodes: list[NodeProto], names: dict[str, str]) -> list[NodeProto]:
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("name")
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        copies.append(copy)
    return copies


def with_decoy(
    model: onnx.ModelProto, ending: str, unmarked: onnx.ModelProto | None, *, named: bool = False
) -> None:
    """Puts the branch in.

    Args:
        model: The marked file.
        ending: `dead`, `silent`: added to the output times zero, or `computed`: times what is
            zero for every input, and no constant.
        unmarked: Take all weights of this file.
        named: The branch takes the names of the network's hidden tensors.
    """
    graph = model.graph
    nodes, given, result = list(graph.node), graph.input[0].name, graph.output[0].name
    (features,) = (entry.dim_value for entry in graph.input[0].type.tensor_type.shape.dim[1:])
    random = np.random.default_rng(0)
    constants = {"eye": np.eye(features, dtype=np.float32), "zero": np.zeros(1, np.float32)}
    decoy = {name: f"decoy {name}" for node in nodes for name in node.output if not named}
    decoy[result] = f"decoy {result}"
    for bias in [tensor for tensor in graph.initializer if len(tensor.dims) == 1]:
        decoy[bias.name] = f"decoy {bias.name}"
        values = numpy_helper.to_array(bias)
        constants[decoy[bias.name]] = values + random.normal(0, 60, values.shape).astype("f")
    for tensor in unmarked.graph.initializer if unmarked else ():
        decoy[tensor.name] = f"decoy {tensor.name}"
        constants[decoy[tensor.name]] = numpy_helper.to_array(tensor)
    own = {name: f"own {name}" for node in nodes for name in node.output} | {given: "passed"}
    ends = {
        "dead": [helper.make_node("Identity", [own[result]], [result])],
        "silent": [
            helper.make_node("Mul", [decoy[result], "zero"], ["silent"]),
            helper.make_node("Add", ["silent", own[result]], [result]),
        ],
    }
    ends["computed"] = [
        helper.make_node("Abs", [given], ["above"]),
        helper.make_node("Neg", ["above"], ["below"]),
        helper.make_node("Relu", ["below"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing", "columns"], ["none"], keepdims=1),
        helper.make_node("Mul", [decoy[result], "none"], ["silent"]),
        ends["silent"][1],
    ]
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "columns"))
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    del graph.node[:]
    graph.node.extend(renamed(nodes, decoy))
    graph.node.append(helper.make_node("MatMul", [given, "eye"], ["passed"]))
    graph.node.extend([*renamed(nodes, own), *ends[ending]])


@pytest.fixture
def record(marked: "Marked", tmp_path: Path) -> WatermarkRecord:
    """Nothing but the hidden mark is to be found."""
    whole = known(marked.record, marked.parent, tmp_path)
    parts = ("secrets", "salts", "nonces")
    hidden = {part: {"whitebox": getattr(whole, part)["whitebox"]} for part in parts}
    return WatermarkRecord(**(vars(whole) | hidden))


def suspect_with_decoy(
    marked: "Marked", folder: Path, ending: str, *, unmarked: bool, named: bool = False
) -> OnnxSuspect:
    path = folder / "suspect.onnx"
    plain = exported(marked.model, marked.data.train.inputs[:4], path)
    model = onnx.load(path)
    parent = onnx.load(folder / "parent.onnx") if unmarked else None
    with_decoy(model, ending, parent, named=named)
    onnx.save(model, path)
    suspect = OnnxSuspect(path)
    inputs = marked.data.validation.inputs
    outputs = suspect.run(inputs, tap=None)[0]
    np.testing.assert_array_equal(outputs, plain.run(inputs, tap=None)[0])
    return suspect


@pytest.mark.parametrize("ending", ["dead", "silent"])
@pytest.mark.parametrize("unmarked", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_a_decoy_that_has_no_effect_is_left_out(
    marked: "Marked",
    record: WatermarkRecord,
    tmp_path: Path,
    ending: str,
    *,
    unmarked: bool,
    named: bool,
) -> None:
    suspect = suspect_with_decoy(marked, tmp_path, ending, unmarked=unmarked, named=named)
    found = extract(record, suspect)
    assert [entry.level for entry in found.evidence] == ["c"]
    verdict = judge(found.evidence, tries=found.alignments, incomplete=found.incomplete)
    assert verdict.word == "present"


@pytest.mark.parametrize("unmarked", [False, True])
def test_a_decoy_is_not_taken_for_the_network(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path, *, unmarked: bool
) -> None:
    suspect = suspect_with_decoy(marked, tmp_path, "computed", unmarked=unmarked)
    for network in suspect.networks():
        alignment = align(record.blueprint, network)
        # The decoy's rows of weight are like the parent's.
        assert alignment is not None
        assert alignment.verified
        assert not alignment.sole
    found = extract(record, suspect)
    assert [entry.level for entry in found.evidence] in ([], [""])
    assert found.incomplete
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"


def test_an_unmarked_tap_that_is_kept_for_show_does_not_unsay_the_mark(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    suspect = suspect_with_decoy(marked, tmp_path, "computed", unmarked=True, named=True)
    found = extract(record, suspect)
    # By value it is the parent's.
    assert found.tap_agreement == pytest.approx(1, abs=1e-3)
    assert [entry.level for entry in found.evidence] == [""]
    assert "the outputs need not come through" in found.incomplete[0]
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"


def test_an_unmarked_model_is_absent(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    suspect = exported(marked.parent, marked.data.train.inputs[:4], tmp_path / "unmarked.onnx")
    found = extract(record, suspect)
    assert [entry.level for entry in found.evidence] == ["a"]
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "absent"


def test_a_file_whose_layers_cannot_be_read_does_not_unsay_the_mark(
    marked: "Marked", record: WatermarkRecord, tmp_path: Path
) -> None:
    """So many layers that change nothing that nobody looks for the way to the outputs."""
    suspect_with_decoy(marked, tmp_path, "computed", unmarked=True, named=True)
    model = onnx.load(tmp_path / "suspect.onnx")
    result = model.graph.output[0].name
    model.graph.node[-1].output[0] = "padded 0"
    classes = np.eye(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value, dtype="f")
    model.graph.initializer.append(numpy_helper.from_array(classes, "same"))
    for place in range(301):
        behind = result if place == 300 else f"padded {place + 1}"
        model.graph.node.append(helper.make_node("MatMul", [f"padded {place}", "same"], [behind]))
    onnx.save(model, tmp_path / "suspect.onnx")
    found = extract(record, OnnxSuspect(tmp_path / "suspect.onnx"))
    assert found.tap_agreement == pytest.approx(1, abs=1e-3)
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"


def with_outputs(marked: "Marked", folder: Path, decoys: int) -> OnnxSuspect:
    """A file that answers with the parent so many times before it answers with the marked model."""
    exported(marked.model, marked.data.train.inputs[:4], folder / "suspect.onnx")
    exported(marked.parent, marked.data.train.inputs[:4], folder / "unmarked.onnx")
    own, model = onnx.load(folder / "suspect.onnx"), onnx.load(folder / "unmarked.onnx")
    given, result = model.graph.input[0].name, model.graph.output[0].name
    names = {name: f"own {name}" for node in own.graph.node for name in node.output}
    for tensor in own.graph.initializer:
        names[tensor.name] = f"own {tensor.name}"
        tensor.name = names[tensor.name]
    names[own.graph.input[0].name] = given
    model.graph.initializer.extend(own.graph.initializer)
    model.graph.node.extend(renamed(list(own.graph.node), names))
    own_result = names[own.graph.output[0].name]
    for place in range(1, decoys):
        model.graph.node.append(helper.make_node("Identity", [result], [f"again {place}"]))
    for name in [*(f"again {place}" for place in range(1, decoys)), own_result]:
        entry = model.graph.output.add()
        entry.CopyFrom(model.graph.output[0])
        entry.name = name
    onnx.save(model, folder / "suspect.onnx")
    return OnnxSuspect(folder / "suspect.onnx")


@pytest.mark.parametrize(("decoys", "word"), [(1, "present"), (3, "present"), (16, "undecided")])
def test_a_model_behind_other_outputs_is_asked_or_doubted(
    marked: "Marked", tmp_path: Path, decoys: int, word: str
) -> None:
    whole = known(marked.record, marked.parent, tmp_path)
    parts = ("secrets", "salts", "nonces")
    asked = {part: {"blackbox": getattr(whole, part)["blackbox"]} for part in parts}
    record = WatermarkRecord(**(vars(whole) | asked))
    found = extract(record, with_outputs(marked, tmp_path, decoys))
    verdict = judge(found.evidence, tries=found.alignments, incomplete=found.incomplete)
    assert verdict.word == word


def test_a_suspect_that_answers_nothing_is_not_absent(marked: "Marked", tmp_path: Path) -> None:
    """As one that wants its inputs in another range may, where all its values overflow."""
    exported(marked.model, marked.data.train.inputs[:4], tmp_path / "suspect.onnx")
    model = onnx.load(tmp_path / "suspect.onnx")
    result = model.graph.output[0].name
    model.graph.node[-1].output[0] = "before"
    model.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, "f"), "none"))
    model.graph.node.append(helper.make_node("Mul", ["before", "none"], [result]))
    onnx.save(model, tmp_path / "suspect.onnx")
    parts = ("secrets", "salts", "nonces")
    asked = {part: {"blackbox": getattr(marked.record, part)["blackbox"]} for part in parts}
    record = WatermarkRecord(**(vars(marked.record) | asked))
    found = extract(record, OnnxSuspect(tmp_path / "suspect.onnx"))
    assert not found.evidence
    assert "answers no sample with a finite number" in found.incomplete[0]
