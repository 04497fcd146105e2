"""Taking everything out of an ONNX graph that is not needed to run it."""

from onnx import GraphProto, ModelProto

__all__ = ["neutralised"]

_INPUT = "input"
_OUTPUT = "output"


def neutralised(model: ModelProto, tap: str) -> tuple[ModelProto, str]:
    """Copies a one-input, one-output model without names, notes or traces of its source.

    Exporters leave stack traces with source lines and paths, module names and the names of the
    parameters. Here tensors are called t0, t1, ..., constants w0, w1, ..., nodes n0, n1, ... in
    graph order, so that a name says nothing, neither about the source nor about the tap.

    Args:
        model: The exported model; every tensor inside it, no functions.
        tap: Name of the hidden tensor to follow.

    Returns:
        The copy, and the tap's name in it.
    """
    source = model.graph
    names = {source.input[0].name: _INPUT, source.output[0].name: _OUTPUT, "": ""}
    for index, tensor in enumerate(source.initializer):
        names[tensor.name] = f"w{index}"
    hidden = (name for node in source.node for name in node.output if name not in names)
    names |= {name: f"t{index}" for index, name in enumerate(hidden)}

    # What every export of this kind says; our own name would tell a thief what to look for.
    clean = ModelProto(ir_version=model.ir_version, producer_name="pytorch")
    for opset in model.opset_import:
        if opset.domain in {node.domain for node in source.node} | {""}:
            clean.opset_import.add(domain=opset.domain, version=opset.version)
    clean.graph.name = "graph"
    _copy_ends(source, clean.graph)
    for tensor in source.initializer:
        copy = clean.graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = names[tensor.name]
        copy.ClearField("doc_string")
        del copy.metadata_props[:]
    for index, node in enumerate(source.node):
        bare = clean.graph.node.add(op_type=node.op_type, domain=node.domain, name=f"n{index}")
        bare.input.extend(names[name] for name in node.input)
        bare.output.extend(names[name] for name in node.output)
        for attribute in node.attribute:
            kept = bare.attribute.add()
            kept.CopyFrom(attribute)
            kept.ClearField("doc_string")
            if kept.HasField("t"):
                kept.t.ClearField("name")
                kept.t.ClearField("doc_string")
    return clean, names[tap]


def _copy_ends(source: GraphProto, target: GraphProto) -> None:
    for entries, copies, name in (
        (source.input, target.input, _INPUT),
        (source.output, target.output, _OUTPUT),
    ):
        copy = copies.add(name=name)
        kind = entries[0].type.tensor_type
        copy.type.tensor_type.elem_type = kind.elem_type
        for axis, dimension in enumerate(kind.shape.dim):
            extent = copy.type.tensor_type.shape.dim.add()
            if axis == 0:
                extent.dim_param = "batch"
            elif dimension.HasField("dim_value"):
                extent.dim_value = dimension.dim_value
