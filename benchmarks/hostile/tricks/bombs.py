"""Small files that cost much to run, or to look at."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from benchmarks.hostile.graphs import constant, node
from benchmarks.hostile.tricks.writing import before, behind, written


def _ints(name: str, *numbers: int) -> TensorProto:
    return constant(name, numbers, np.int64)


def chain_of_products(folder: Path) -> Path:
    """Thousands of products of large matrices that are made of nothing."""
    nodes = [
        node("ConstantOfShape", ["size"], ["m0"], value=constant("", [0.001])),
        *(node("MatMul", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(3000)),
        node("ReduceSum", ["m3000"], ["all"], keepdims=0),
        node("Add", ["f", "all"], ["made"]),
    ]
    return written(folder, before(nodes, [_ints("size", 2000, 2000)]))


def product_of_many_indices(folder: Path) -> Path:
    nodes = [
        node("Einsum", ["f"] * 5, ["e"], equation="ba,bc,bd,be,bg->acdeg"),
        node("ReduceSum", ["e"], ["s"], keepdims=0),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes))


def doubling(folder: Path) -> Path:
    nodes = [node("Concat", ["f", "f"], ["c0"], axis=1)]
    nodes += [node("Concat", [f"c{n}"] * 2, [f"c{n + 1}"], axis=1) for n in range(30)]
    nodes += [node("ReduceMean", ["c30", "one"], ["m"]), node("Add", ["f", "m"], ["made"])]
    return written(folder, before(nodes, [_ints("one", 1)]))


def doubling_of_constants(folder: Path) -> Path:
    """The same without an input: what folds constants may do it before anything runs."""
    nodes = [node("Concat", ["z", "z"], ["c0"], axis=0)]
    nodes += [node("Concat", [f"c{n}"] * 2, [f"c{n + 1}"], axis=0) for n in range(34)]
    nodes += [node("ReduceMean", ["c34", "zero"], ["m"]), node("Add", ["f", "m"], ["made"])]
    return written(folder, before(nodes, [constant("z", [1.0]), _ints("zero", 0)]))


def expanding(folder: Path) -> Path:
    nodes = [
        node("Expand", ["one", "size"], ["e"]),
        node("ReduceSum", ["e"], ["s"], keepdims=0),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes, [constant("one", [1.0]), _ints("size", 40000, 40000)]))


def constant_of_a_huge_shape(folder: Path) -> Path:
    nodes = [
        node("ConstantOfShape", ["size"], ["e"]),
        node("ReduceSum", ["e"], ["s"], keepdims=0),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes, [_ints("size", 2**29)]))


def tiling(folder: Path) -> Path:
    nodes = [
        node("Tile", ["f", "times"], ["t"]),
        node("ReduceSum", ["t", "one"], ["s"]),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes, [_ints("times", 1, 30_000), _ints("one", 1)]))


def padding(folder: Path) -> Path:
    nodes = [
        node("Pad", ["f", "pads"], ["p"]),
        node("ReduceSum", ["p", "one"], ["s"]),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes, [_ints("pads", 0, 0, 0, 2_000_000), _ints("one", 1)]))


def resizing(folder: Path) -> Path:
    nodes = [
        node("Resize", ["input", "", "scales"], ["big"], mode="nearest"),
        node("GlobalAveragePool", ["big"], ["g"]),
        node("Flatten", ["g"], ["s"]),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes, [constant("scales", [1, 1, 200, 200])]))


def range_of_billions(folder: Path) -> Path:
    nodes = [
        node("Range", ["from", "to", "by"], ["long"]),
        node("ReduceSum", ["long"], ["s"], keepdims=0),
        node("Add", ["f", "s"], ["made"]),
    ]
    numbers = [constant("from", 0.0), constant("to", 1e6), constant("by", 1e-2)]
    return written(folder, before(nodes, numbers))


def one_of_many_classes(folder: Path) -> Path:
    nodes = [
        node("ArgMax", ["f"], ["a"], axis=1, keepdims=0),
        node("OneHot", ["a", "depth", "values"], ["o"]),
        node("ReduceSum", ["o", "one"], ["s"]),
        node("Add", ["f", "s"], ["made"]),
    ]
    further = [_ints("depth", 2_000_000), constant("values", [0, 1]), _ints("one", 1)]
    return written(folder, before(nodes, further))


def wide_output(folder: Path) -> Path:
    nodes = [node("Tile", ["logits", "times"], ["output"])]
    return written(
        folder, behind(nodes, [_ints("times", 1, 2_000_000)], outputs={"output": ["batch", None]})
    )


def wide_hidden_layer(folder: Path) -> Path:
    """A dense layer of 3 million neurons whose weights are made while it runs."""
    nodes = [
        node("ConstantOfShape", ["size"], ["w"], value=constant("", [0.01])),
        node("MatMul", ["f", "w"], ["wide"]),
        node("Relu", ["wide"], ["bent"]),
        node("ReduceMean", ["bent", "one"], ["s"]),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes, [_ints("size", 64, 3_000_000), _ints("one", 1)]))


def fixed_batch_of_200_000(folder: Path) -> Path:
    return written(folder, before([node("Identity", ["f"], ["made"])], batch=200_000))


def fixed_batch_of_billions(folder: Path) -> Path:
    return written(folder, before([node("Identity", ["f"], ["made"])], batch=2**62))


def convolution_of_a_huge_kernel(folder: Path) -> Path:
    """Weights that are all one, made of a shape; padding that a small input hides."""
    nodes = [
        node("ConstantOfShape", ["size"], ["k"], value=constant("", [0.01])),
        node("Conv", ["input", "k"], ["c"], pads=[1000, 1000, 1000, 1000]),
        node("GlobalAveragePool", ["c"], ["g"]),
        node("Flatten", ["g"], ["s"]),
        node("ReduceMean", ["s", "one"], ["m"]),
        node("Add", ["f", "m"], ["made"]),
    ]
    return written(folder, before(nodes, [_ints("size", 512, 1, 900, 900), _ints("one", 1)]))


def foldable_products(folder: Path) -> Path:
    """Constants whose product no file needs to hold: a normal form would write it out."""
    nodes = [
        node("MatMul", ["column", "row"], ["outer"]),
        node("ReduceMean", ["outer"], ["m"], keepdims=0),
        node("Add", ["f", "m"], ["made"]),
    ]
    sides = [constant("column", np.ones((8000, 1))), constant("row", np.ones((1, 8000)))]
    return written(folder, before(nodes, sides))


def layers_that_multiply_out(folder: Path) -> Path:
    """Two linear layers through one neuron: merged they are 50,000 times as large."""
    nodes = [
        node("MatMul", ["f", "narrow"], ["n"]),
        node("MatMul", ["n", "wide"], ["w"]),
        node("MatMul", ["w", "back"], ["made"]),
    ]
    sizes = {"narrow": (64, 1), "wide": (1, 200_000), "back": (200_000, 64)}
    random = np.random.default_rng(0)
    return written(
        folder, before(nodes, [constant(name, random.random(sizes[name])) for name in sizes])
    )


def convolution_written_as_a_dense_layer(folder: Path) -> Path:
    """A large image that is declared, and a kernel: as a matrix it would fill terabytes."""
    model = before([node("Identity", ["f"], ["made"])])
    extents = model.graph.input[0].type.tensor_type.shape.dim
    extents[2].dim_value = extents[3].dim_value = 30_000
    model.graph.node[0].CopyFrom(node("Conv", ["input", "k"], ["c"], pads=[1, 1, 1, 1]))
    model.graph.node.insert(1, node("Flatten", ["c"], ["f"]))
    model.graph.initializer.append(constant("k", np.ones((64, 1, 3, 3))))
    return written(folder, model)


def text_that_is_matched_for_ever(folder: Path) -> Path:
    nodes = [
        node("Constant", [], ["t"], value_strings=[b"a" * 4000 + b"!"]),
        node("RegexFullMatch", ["t"], ["b"], pattern="(a|a?)+" * 20),
        node("Cast", ["b"], ["s"], to=TensorProto.FLOAT),
        node("Add", ["f", "s"], ["made"]),
    ]
    return written(folder, before(nodes))


def sorts_and_transforms(folder: Path) -> Path:
    """Operators whose cost does not show in the sizes of what they give."""
    nodes = [
        node("ConstantOfShape", ["size"], ["z"], value=constant("", [0.5])),
        node("DFT", ["z", "", "axis"], ["d"]),
        node("ReduceSum", ["d"], ["s"], keepdims=0),
        node("Det", ["square"], ["t"]),
        node("Add", ["f", "s"], ["g"]),
        node("Add", ["g", "t"], ["made"]),
        node("NonMaxSuppression", ["boxes", "scores", "most"], ["chosen"]),
    ]
    random = np.random.default_rng(0)
    further = [
        _ints("size", 1, 99_991, 1),
        constant("axis", 1, np.int64),
        constant("square", random.random((300, 300))),
        constant("boxes", random.random((1, 20_000, 4))),
        constant("scores", random.random((1, 1, 20_000))),
        _ints("most", 20_000),
    ]
    model = before(nodes, further)
    model.graph.output.append(helper.make_tensor_value_info("chosen", TensorProto.INT64, None))
    return written(folder, model)
