"""Too much of one thing."""

from pathlib import Path

import numpy as np
from onnx import helper

from benchmarks.hostile.graphs import constant, flat, model_of, node, plain, value
from benchmarks.hostile.tricks.writing import before, ordinary, written


def name_of_a_megabyte(folder: Path) -> Path:
    name = "n" * 2**20
    return written(folder, before([node("Identity", ["f"], [name])], source=name))


def names_that_steer_a_terminal(folder: Path) -> Path:
    name = "\x1b]0;owned\x07\x1b[2J\r\n\u202egnp\x00"
    return written(folder, before([node("Relu", ["f", "nothing"], [name])], source=name))


def names_that_are_paths(folder: Path) -> Path:
    name = "../../../../tmp/hostile-was-here"
    return written(folder, before([node("Identity", ["f"], [name])], source=name))


def operator_of_a_megabyte(folder: Path) -> Path:
    return written(folder, before([node("x\x1b[2J\n" * 2**17, ["f"], ["made"])]))


def attribute_of_sixteen_megabytes(folder: Path) -> Path:
    made = node("Identity", ["f"], ["made"], note="n" * 2**24, numbers=list(range(10**6)))
    return written(folder, before([made]))


def description_of_sixteen_megabytes(folder: Path) -> Path:
    model = ordinary()
    model.doc_string = model.graph.doc_string = "d" * 2**24
    for number in range(10_000):
        entry = model.metadata_props.add()
        entry.key, entry.value = f"key {number}", "\x1b[2J" * 10
    return written(folder, model)


def _in_a_row(folder: Path, count: int, kind: str) -> Path:
    nodes = [node(kind, [f"n{at}" if at else "f"], [f"n{at + 1}"]) for at in range(count)]
    return written(folder, before(nodes, source=f"n{count}"))


def thousands_of_nodes(folder: Path) -> Path:
    return _in_a_row(folder, 20_000, "Relu")


def as_many_nodes_as_are_allowed(folder: Path) -> Path:
    return _in_a_row(folder, 49_990, "Identity")


def more_nodes_than_are_allowed(folder: Path) -> Path:
    return _in_a_row(folder, 60_000, "Relu")


def thousands_of_products(folder: Path) -> Path:
    """Linear layers, none of which needs to be there: a normal form merges them."""
    count = 5000
    nodes = [node("MatMul", [f"n{at}" if at else "f", "w"], [f"n{at + 1}"]) for at in range(count)]
    return written(folder, before(nodes, [constant("w", np.eye(64))], source=f"n{count}"))


def thousands_of_layers(folder: Path) -> Path:
    """Linear layers with a bend between two of them, which nothing merges."""
    count, nodes = 2000, []
    for at in range(count):
        nodes.append(node("MatMul", [f"n{at}" if at else "f", "w"], [f"m{at}"]))
        nodes.append(node("Relu", [f"m{at}"], [f"n{at + 1}"]))
    return written(folder, before(nodes, [constant("w", np.eye(64))], source=f"n{count}"))


def as_many_layers_as_are_allowed(folder: Path) -> Path:
    count, nodes = 24_000, []
    for at in range(count):
        nodes.append(node("MatMul", [f"n{at}" if at else "f", "w"], [f"m{at}"]))
        nodes.append(node("Relu", [f"m{at}"], [f"n{at + 1}"]))
    return written(folder, before(nodes, [constant("w", np.eye(64))], source=f"n{count}"))


def nodes_in_the_wrong_order(folder: Path) -> Path:
    """Which whoever puts them in order goes through again and again."""
    count = 20_000
    nodes = [node("Relu", [f"n{at}" if at else "f"], [f"n{at + 1}"]) for at in range(count)]
    return written(folder, before(reversed(nodes), source=f"n{count}"))


def thousands_of_ways(folder: Path) -> Path:
    """Each node reads both of the two before it: 2^2000 ways lead through the graph."""
    count = 2000
    names = ["f", "f", *(f"n{at}" for at in range(count))]
    nodes = [node("Add", names[at : at + 2], [names[at + 2]]) for at in range(count)]
    return written(folder, before(nodes, source=names[-1]))


def thousands_of_readers(folder: Path) -> Path:
    """One tensor that 10,000 layers read, and a sum of them all."""
    count = 10_000
    nodes = [node("MatMul", ["f", "w"], [f"n{at}"]) for at in range(count)]
    nodes.append(node("Sum", [f"n{at}" for at in range(count)], ["made"]))
    return written(folder, before(nodes, [constant("w", np.eye(64))]))


def node_of_many_inputs(folder: Path) -> Path:
    return written(folder, before([node("Sum", ["f"] * 200_000, ["made"])]))


def node_of_many_outputs(folder: Path) -> Path:
    names = [f"n{at}" for at in range(50_000)]
    return written(folder, before([node("Split", ["f"], names, axis=1)], source="n7"))


def thousands_of_constants(folder: Path) -> Path:
    return written(folder, before([], [constant(f"c{n}", [n]) for n in range(40_000)], source="f"))


def more_constants_than_are_allowed(folder: Path) -> Path:
    return written(folder, before([], [constant(f"c{n}", [n]) for n in range(60_000)], source="f"))


def constants_of_one_name(folder: Path) -> Path:
    return written(folder, before([], [constant("w1", np.ones(3))] * 10_000, source="f"))


def thousands_of_inputs(folder: Path) -> Path:
    model = ordinary()
    model.graph.input.extend(value(f"i{n}", ["batch", 2]) for n in range(20_000))
    return written(folder, model)


def thousands_of_outputs(folder: Path) -> Path:
    model = ordinary()
    model.graph.output.extend(value("output", ["batch", 6]) for _ in range(20_000))
    return written(folder, model)


def sixteen_outputs_of_many_layers(folder: Path) -> Path:
    """Each output is looked at alone, with everything before it."""
    (first, _), (then, weights) = flat(), plain()
    nodes, outputs = [*first, *then], {"output": ["batch", 6]}
    for at in range(1500):
        nodes.append(node("MatMul", [f"n{at}" if at else "f", "w"], [f"m{at}"]))
        nodes.append(node("Relu", [f"m{at}"], [f"n{at + 1}"]))
    for at in range(1485, 1501):
        outputs[f"n{at}"] = ["batch", 64]
    model = model_of(nodes, [*weights, constant("w", np.eye(64))], outputs=outputs)
    return written(folder, model)


def thousands_of_declared_tensors(folder: Path) -> Path:
    model = ordinary()
    model.graph.value_info.extend(value(f"v{n}", [n]) for n in range(200_000))
    return written(folder, model)


def thousands_of_operator_sets(folder: Path) -> Path:
    model = ordinary()
    model.opset_import.extend(helper.make_opsetid(f"domain {n}", n) for n in range(50_000))
    return written(folder, model)


def thousands_of_gates(folder: Path) -> Path:
    """Conditions before every layer, each of which might open."""
    nodes, last = [], "f"
    for at in range(500):
        nodes += [
            node("ReduceMax", [last, "one"], [f"x{at}"]),
            node("Greater", [f"x{at}", "limit"], [f"g{at}"]),
            node("Where", [f"g{at}", "zero", last], [f"n{at}"]),
        ]
        last = f"n{at}"
    sides = [constant("one", [1], np.int64), constant("limit", 99.0), constant("zero", 0.0)]
    return written(folder, before(nodes, sides, source=last))
