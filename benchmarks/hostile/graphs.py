"""Small graphs to start from, for images [batch, 1, 8, 8] and six classes."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, load, numpy_helper

from benchmarks.hostile.owner import CLASSES, CONVOLUTIONAL, PARENT

__all__ = ["FLOAT", "constant", "flat", "model_of", "node", "plain", "seed_of", "seeds", "value"]

Array = NDArray[Any]
FLOAT = TensorProto.FLOAT
_WIDTH = 64
_OPSET, _IR = 20, 10


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    """A node."""
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def constant(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    """An initializer."""
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def value(name: str, shape: Sequence[Any] | None, kind: int = FLOAT) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: Iterable[NodeProto],
    constants: Iterable[TensorProto] = (),
    *,
    batch: int | str = "batch",
    outputs: Mapping[str, Sequence[Any] | None] | None = None,
    **further: Any,
) -> ModelProto:
    """A model from `input` to `output`.

    Args:
        nodes: Of the graph.
        constants: Its initializers.
        batch: Extent of the batch's dimension.
        outputs: Shapes of its outputs by name.
        further: Of `onnx.helper.make_model`.
    """
    outputs = outputs or {"output": [batch, CLASSES]}
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [value("input", [batch, 1, 8, 8])],
        [value(name, shape) for name, shape in outputs.items()],
        list(constants),
    )
    opsets = further.pop("opset_imports", [helper.make_opsetid("", _OPSET)])
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, **further)


def flat() -> tuple[list[NodeProto], list[TensorProto]]:
    """What makes `f`, float32 [batch, 64], of the input."""
    return [node("Flatten", ["input"], ["f"])], []


def plain(source: str = "f") -> tuple[list[NodeProto], list[TensorProto]]:
    """Two layers from a tensor float32 [batch, 64] to `output`."""
    random = np.random.default_rng(0)
    constants = [
        constant("w1", random.normal(size=(_WIDTH, 96)) / 8),
        constant("b1", random.normal(size=96) / 8),
        constant("w2", random.normal(size=(96, CLASSES)) / 8),
    ]
    nodes = [
        node("Gemm", [source, "w1", "b1"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "w2"], ["output"]),
    ]
    return nodes, constants


def _ordinary() -> ModelProto:
    (first, _), (then, constants) = flat(), plain()
    return model_of([*first, *then], constants)


def _branch(name: str, factor: float) -> GraphProto:
    nodes = [
        node("Constant", [], [f"{name}_c"], value=constant("", [factor])),
        node("Mul", ["f", f"{name}_c"], [name]),
    ]
    return helper.make_graph(nodes, name, [], [value(name, ["batch", _WIDTH])])


def _branching() -> ModelProto:
    (first, _), (then, constants) = flat(), plain("chosen")
    chosen = node(
        "If",
        ["condition"],
        ["chosen"],
        then_branch=_branch("then", 1.0),
        else_branch=_branch("else", 2.0),
    )
    return model_of([*first, chosen, *then], [*constants, constant("condition", True, bool)])


def _looping() -> ModelProto:
    (first, _), (then, constants) = flat(), plain("last")
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Add", ["state", "state"], ["next"])],
        "body",
        [
            value("turn", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("state", ["batch", _WIDTH]),
        ],
        [value("on", [], TensorProto.BOOL), value("next", ["batch", _WIDTH])],
    )
    loop = node("Loop", ["turns", "condition", "f"], ["last"], body=body)
    further = [constant("turns", 3, np.int64), constant("condition", True, bool)]
    return model_of([*first, loop, *then], [*constants, *further])


def _quantised() -> ModelProto:
    random = np.random.default_rng(1)
    whole = random.integers(-127, 127, (_WIDTH, 96))
    last = random.integers(-127, 127, (96, CLASSES))
    constants = [
        constant("q1", whole, np.int8),
        constant("q2", last, np.int8),
        constant("scale", 0.002),
        constant("zero", 0, np.int8),
    ]
    nodes = [
        *flat()[0],
        node("DynamicQuantizeLinear", ["f"], ["fq", "fs", "fz"]),
        node("MatMulInteger", ["fq", "q1", "fz", "zero"], ["m"]),
        node("Cast", ["m"], ["mf"], to=FLOAT),
        node("Mul", ["fs", "scale"], ["s"]),
        node("Mul", ["mf", "s"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("DequantizeLinear", ["q2", "scale", "zero"], ["w2"]),
        node("MatMul", ["r", "w2"], ["output"]),
    ]
    return model_of(nodes, constants)


def _attentive() -> ModelProto:
    """Reshapes, transposes, products of two inputs and a normalisation."""
    random = np.random.default_rng(2)
    sizes = {"wq": (8, 8), "wk": (8, 8), "wv": (8, 8), "w1": (_WIDTH, 96), "w2": (96, CLASSES)}
    constants = [constant(name, random.normal(size=size) / 4) for name, size in sizes.items()]
    constants += [
        constant("rows", [0, 8, 8], np.int64),
        constant("row", [0, 64], np.int64),
        constant("ones", np.ones(8)),
        constant("zeros", np.zeros(8)),
    ]
    nodes = [
        node("Reshape", ["input", "rows"], ["x"]),
        node("LayerNormalization", ["x", "ones", "zeros"], ["n"], axis=-1),
        *(node("MatMul", ["n", f"w{name}"], [name]) for name in "qkv"),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["scores"]),
        node("Softmax", ["scores"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["mixed"]),
        node("Add", ["x", "mixed"], ["y"]),
        node("Reshape", ["y", "row"], ["f"]),
        node("MatMul", ["f", "w1"], ["h"]),
        node("Gelu", ["h"], ["g"]),
        node("MatMul", ["g", "w2"], ["output"]),
    ]
    return model_of(nodes, constants)


@cache
def seeds(folder: Path) -> tuple[ModelProto, ...]:
    """What mutants are made from; two were exported, the others are written here.

    Args:
        folder: Where `owner.write_owner` wrote.
    """
    # The last two hold graphs, which are refused; see `seed_of`.
    exported = [load(folder / name) for name in (PARENT, CONVOLUTIONAL)]
    made = (_ordinary, _quantised, _attentive, _branching, _looping)
    return (*exported, *(make() for make in made))


def seed_of(known: Sequence[ModelProto], number: int) -> ModelProto:
    """The seed of a mutant: of those that are refused as they are, one in ten."""
    whole = len(known) - 2
    return known[whole + number // 10 % 2] if number % 10 == 9 else known[number % whole]
