"""Graphs in graphs, functions, and operators that are not of the standard or not of one answer."""

from pathlib import Path

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper

from benchmarks.hostile.graphs import constant, node, value
from benchmarks.hostile.tricks.writing import before, behind, ordinary, written

_BOOL, _INT64 = TensorProto.BOOL, TensorProto.INT64
_YES = constant("yes", True, bool)


def _looped(turns: int, inner: GraphProto | None = None) -> GraphProto:
    """A body that does nothing, or another loop, again and again."""
    nodes = [node("Identity", ["go"], ["on"])]
    if inner is None:
        nodes.append(node("Add", ["state", "state"], ["next"]))
    else:
        nodes.append(node("Loop", ["turns", "go", "state"], ["next"], body=inner))
    return helper.make_graph(
        nodes,
        "body",
        [value("turn", [], _INT64), value("go", [], _BOOL), value("state", None)],
        [value("on", [], _BOOL), value("next", None)],
        [constant("turns", turns, np.int64)],
    )


def endless_loop(folder: Path) -> Path:
    loop = node("Loop", ["", "yes", "f"], ["made"], body=_looped(1))
    return written(folder, before([loop], [_YES]))


def loops_in_loops(folder: Path) -> Path:
    body = _looped(10**6)
    for _ in range(5):
        body = _looped(10**6, body)
    loop = node("Loop", ["many", "yes", "f"], ["made"], body=body)
    return written(folder, before([loop], [_YES, constant("many", 10**9, np.int64)]))


def loop_of_a_quoted_domain(folder: Path) -> Path:
    """The standard's operators under the standard's other name."""
    loop = node("Loop", ["", "yes", "f"], ["made"], body=_looped(1))
    loop.domain = "ai.onnx"
    return written(folder, before([loop], [_YES]))


def graph_in_an_attribute_without_its_kind(folder: Path) -> Path:
    model = ordinary()
    attribute = model.graph.node[1].attribute.add()
    attribute.name, attribute.type = "body", AttributeProto.FLOAT
    attribute.g.CopyFrom(_looped(1))
    return written(folder, model)


def branches_in_branches(folder: Path) -> Path:
    branch = helper.make_graph([node("Relu", ["f"], ["b"])], "b", [], [value("b", None)])
    for _ in range(40):
        inner = node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch)
        branch = helper.make_graph([inner], "b", [], [value("b", None)])
        if branch.ByteSize() > 1 << 22:
            break
    chosen = node("If", ["yes"], ["made"], then_branch=branch, else_branch=branch)
    return written(folder, before([chosen], [_YES]))


def deeper_than_a_parser_goes(folder: Path) -> Path:
    """A thousand graphs in attributes, each in the next, written byte by byte."""
    inner = helper.make_graph([node("Relu", ["f"], ["b"])], "b", [], []).SerializeToString()

    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    for _ in range(1000):
        attribute = field(1, b"body") + field(6, inner) + b"\xa0\x01\x05"
        inner = field(1, field(4, b"If") + field(5, attribute))
    return written(folder, ordinary().SerializeToString() + field(7, inner))


def scan_over_everything(folder: Path) -> Path:
    body = helper.make_graph(
        [node("Add", ["s", "x"], ["t"]), node("Identity", ["x"], ["y"])],
        "body",
        [value("s", None), value("x", None)],
        [value("t", None), value("y", None)],
    )
    scan = node("Scan", ["f", "f"], ["last", "made"], body=body, num_scan_inputs=1)
    return written(folder, before([scan]))


def _with_functions(folder: Path, calls: dict[str, list[str]], *, domain: str = "own") -> Path:
    """Functions that call each other, the first of them called by the graph."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(domain, 1)]
    functions = []
    for name, called in calls.items():
        nodes, last = [], "x"
        for number, other in enumerate(called):
            kind = {"domain": domain} if other in calls else {}
            nodes.append(node(other, [last], [f"y{number}"], **kind))
            last = f"y{number}"
        functions.append(helper.make_function(domain, name, ["x"], [last], nodes, opsets))
    first = node(next(iter(calls)), ["f"], ["made"], domain=domain)
    return written(folder, before([first], functions=functions, opset_imports=opsets))


def function_of_its_own(folder: Path) -> Path:
    return _with_functions(folder, {"One": ["Relu"]})


def function_that_calls_itself(folder: Path) -> Path:
    return _with_functions(folder, {"One": ["One"]})


def functions_in_a_circle(folder: Path) -> Path:
    return _with_functions(folder, {"One": ["Two"], "Two": ["One", "One"]})


def functions_that_multiply(folder: Path) -> Path:
    calls = {f"F{level}": [f"F{level + 1}"] * 10 for level in range(12)}
    return _with_functions(folder, {**calls, "F12": ["Relu"]})


def function_named_as_the_standard_s(folder: Path) -> Path:
    return _with_functions(folder, {"Gemm": ["Relu"]}, domain="ai.onnx")


def operator_of_a_foreign_domain(folder: Path) -> Path:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("evil", 1)]
    made = node("Own", ["f"], ["made"], domain="evil")
    return written(folder, before([made], opset_imports=opsets))


def operator_that_runs_python(folder: Path) -> Path:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.contrib", 1)]
    made = node("PyOp", ["f"], ["made"], domain="ai.onnx.contrib")
    return written(folder, before([made], opset_imports=opsets))


def compiled_program_of_an_accelerator(folder: Path) -> Path:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    made = node(
        "EPContext",
        ["f"],
        ["made"],
        domain="com.microsoft",
        embed_mode=0,
        ep_cache_context="/etc/passwd",
        source="QNN",
    )
    return written(folder, before([made], opset_imports=opsets))


def answers_of_chance(folder: Path) -> Path:
    noise = [
        node("RandomNormalLike", ["logits"], ["n"], scale=9.0),
        node("Add", ["logits", "n"], ["output"]),
    ]
    return written(folder, behind(noise))


def dropout_that_is_on(folder: Path) -> Path:
    made = node("Dropout", ["f", "half", "yes"], ["made"])
    return written(folder, before([made], [constant("half", 0.5), _YES]))


def tensors_of_text(folder: Path) -> Path:
    model = ordinary()
    tensor = model.graph.initializer.add(name="text", data_type=TensorProto.STRING, dims=[2])
    tensor.string_data.extend([b"\xff\xfe", b"\x1b[2J" * 9999])
    return written(folder, model)


def output_that_is_text(folder: Path) -> Path:
    made = node("Cast", ["logits"], ["output"], to=TensorProto.STRING)
    model: ModelProto = behind([made])
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    return written(folder, model)


def output_that_is_a_sequence(folder: Path) -> Path:
    model = behind([node("SequenceConstruct", ["logits", "logits"], ["output"])])
    model.graph.output[0].ClearField("type")
    model.graph.output[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    return written(folder, model)
