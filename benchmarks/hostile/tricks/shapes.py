"""Files that say of themselves what is not so."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from benchmarks.hostile.graphs import constant, node, value
from benchmarks.hostile.tricks.writing import before, behind, ordinary, written


def weights_larger_than_the_file(folder: Path) -> Path:
    model = ordinary()
    model.graph.initializer[0].dims[:] = [2**40, 2**20]
    return written(folder, model)


def weights_of_overflowing_size(folder: Path) -> Path:
    """Whose product of extents is small again in 64 bits."""
    model = ordinary()
    model.graph.initializer[0].dims[:] = [2**32, 2**32, 96]
    return written(folder, model)


def weights_of_negative_size(folder: Path) -> Path:
    model = ordinary()
    model.graph.initializer[0].dims[:] = [-64, -96]
    return written(folder, model)


def weights_of_no_size_and_a_huge_one(folder: Path) -> Path:
    model = ordinary()
    model.graph.initializer[0].dims[:] = [0, 2**62]
    return written(folder, model)


def weights_of_a_thousand_dimensions(folder: Path) -> Path:
    model = ordinary()
    model.graph.initializer[0].dims[:] = [1] * 1000 + [64, 96]
    return written(folder, model)


def weights_of_another_kind(folder: Path) -> Path:
    model = ordinary()
    model.graph.initializer[0].data_type = TensorProto.COMPLEX128
    return written(folder, model)


def weights_in_two_fields(folder: Path) -> Path:
    model = ordinary()
    model.graph.initializer[0].float_data.extend([1e38] * 64 * 96)
    return written(folder, model)


def weights_that_are_no_numbers(folder: Path) -> Path:
    model = ordinary()
    for tensor in model.graph.initializer:
        tensor.raw_data = b"\xff\xff\xff\x7f" * (len(tensor.raw_data) // 4)
    return written(folder, model)


def sparse_tensor_of_a_huge_shape(folder: Path) -> Path:
    sparse = helper.make_sparse_tensor(
        constant("", [1.0]), constant("", [0], np.int64), [2**20, 2**20]
    )
    nodes = [
        node("Constant", [], ["s"], sparse_value=sparse),
        node("ReduceSum", ["s"], ["t"], keepdims=0),
        node("Add", ["f", "t"], ["made"]),
    ]
    return written(folder, before(nodes))


def input_of_a_lying_shape(folder: Path) -> Path:
    model = ordinary()
    for extent in model.graph.input[0].type.tensor_type.shape.dim:
        extent.dim_value = 2**31
    return written(folder, model)


def input_without_a_shape(folder: Path) -> Path:
    model = ordinary()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return written(folder, model)


def input_without_a_kind(folder: Path) -> Path:
    model = ordinary()
    model.graph.input[0].ClearField("type")
    return written(folder, model)


def hidden_tensors_of_lying_shapes(folder: Path) -> Path:
    model = ordinary()
    for name in ("f", "h", "r"):
        model.graph.value_info.append(value(name, [2**40, -1, 2**62]))
    return written(folder, model)


def output_that_nothing_writes(folder: Path) -> Path:
    model = ordinary()
    model.graph.output[0].name = "nothing"
    return written(folder, model)


def output_that_is_a_constant(folder: Path) -> Path:
    model = ordinary()
    model.graph.output[0].name = "w1"
    return written(folder, model)


def output_that_is_the_input(folder: Path) -> Path:
    model = ordinary()
    model.graph.output[0].CopyFrom(model.graph.input[0])
    return written(folder, model)


def no_output(folder: Path) -> Path:
    model = ordinary()
    del model.graph.output[:]
    return written(folder, model)


def no_input(folder: Path) -> Path:
    model = ordinary()
    del model.graph.input[:]
    return written(folder, model)


def circle_of_nodes(folder: Path) -> Path:
    nodes = [node("Add", ["f", "b"], ["a"]), node("Relu", ["a"], ["b"])]
    return written(folder, before([*nodes, node("Add", ["a", "b"], ["made"])]))


def node_that_reads_itself(folder: Path) -> Path:
    return written(folder, before([node("Add", ["f", "made"], ["made"])]))


def one_name_for_all(folder: Path) -> Path:
    model = ordinary()
    for made in model.graph.node:
        made.output[0] = "output"
        made.input[0] = "output"
    for tensor in model.graph.initializer:
        tensor.name = "output"
    return written(folder, model)


def weight_that_is_also_the_input(folder: Path) -> Path:
    model = ordinary()
    model.graph.initializer.append(constant("input", np.zeros((1, 1, 8, 8))))
    return written(folder, model)


def slices_that_go_backwards(folder: Path) -> Path:
    ends = [constant(f"e{n}", [e], np.int64) for n, e in enumerate((2**62, -(2**63), 1, -1))]
    made = node("Slice", ["f", "e0", "e1", "e2", "e3"], ["s"])
    nodes = [made, node("ReduceSum", ["s", "e2"], ["t"]), node("Add", ["f", "t"], ["made"])]
    return written(folder, before(nodes, ends))


def picks_outside_of_a_tensor(folder: Path) -> Path:
    made = node("Gather", ["f", "places"], ["made"], axis=1)
    return written(folder, before([made], [constant("places", [2**40, -(2**40)] * 32, np.int64)]))


def reshaped_to_nonsense(folder: Path) -> Path:
    made = node("Reshape", ["f", "shape"], ["made"])
    return written(folder, before([made], [constant("shape", [-1, -1, 0, 2**62], np.int64)]))


def convolution_of_nonsense(folder: Path) -> Path:
    nodes = [
        node("Conv", ["input", "k"], ["c"], strides=[0, -1], dilations=[2**40, 0], group=-7),
        node("Flatten", ["c"], ["made"]),
    ]
    return written(folder, before(nodes, [constant("k", np.ones((64, 1, 3, 3)))]))


def normalisation_of_nonsense(folder: Path) -> Path:
    """Variances below nothing, and of another length than the tensor."""
    made = node("BatchNormalization", ["f", "a", "a", "a", "v"], ["made"], epsilon=float("nan"))
    sides = [constant("a", np.ones(63)), constant("v", -np.ones(1))]
    return written(folder, before([made], sides))


def quantised_by_nothing(folder: Path) -> Path:
    nodes = [
        node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=99),
        node("MatMul", ["f", "w"], ["made"]),
    ]
    sides = [
        constant("q", np.ones((64, 64)), np.int8),
        constant("scale", np.zeros(7)),
        constant("zero", np.zeros(3), np.int8),
    ]
    return written(folder, before(nodes, sides))


def answers_that_are_no_numbers(folder: Path) -> Path:
    made = node("Div", ["logits", "zero"], ["output"])
    return written(folder, behind([made], [constant("zero", np.zeros(6))]))


def version_of_the_far_future(folder: Path) -> Path:
    model = ordinary()
    model.opset_import[0].version = 2**62
    model.ir_version = 2**62
    return written(folder, model)


def several_versions_at_once(folder: Path) -> Path:
    model = ordinary()
    model.opset_import.extend([helper.make_opsetid("", 1), helper.make_opsetid("ai.onnx", 7)])
    return written(folder, model)


def output_without_anything(folder: Path) -> Path:
    model = ordinary()
    model.graph.output.insert(0, ValueInfoProto())
    return written(folder, model)
