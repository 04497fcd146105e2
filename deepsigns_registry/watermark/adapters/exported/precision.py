"""Programs in another float type than float32: marked in float32, given back in their own."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

from deepsigns_registry.watermark.adapters.exported.nodes import user_input, with_nested

__all__ = ["own_types", "rounding", "run_registered", "to_float32", "without_guards"]

_ROWS = 512


def own_types(program: ExportedProgram) -> frozenset[torch.dtype]:
    """The float types of a program's input, parameters, buffers, constants and autocasts."""
    tensors = [*program.state_dict.values(), *program.constants.values()]
    types = {value.dtype for value in tensors if isinstance(value, Tensor)}
    types.add(user_input(program).meta["val"].dtype)
    casts = [node.args[1] for node in with_nested(program.graph) if _is_autocast(node)]
    types.update(kind for kind in casts if isinstance(kind, torch.dtype))
    return frozenset(kind for kind in types if kind.is_floating_point)


def rounding(program: ExportedProgram) -> float:
    """The largest relative step between two numbers of a program's own types, or of float32.

    Examples:
        >>> layers = torch.nn.Linear(2, 2).to(torch.float16)
        >>> rounding(torch.export.export(layers, (torch.zeros(2, 2, dtype=torch.float16),)))
        0.0009765625
    """
    return max(torch.finfo(kind).eps for kind in own_types(program) | {torch.float32})


def to_float32(module: GraphModule) -> None:
    """Turns a program's module into one that computes in float32, weights and casts included."""
    module.float()
    for part in module.modules():
        if isinstance(part, GraphModule):
            _cast(part)


def run_registered(program: ExportedProgram, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Runs a program as it is served: in its own type, a final softmax included.

    Args:
        program: The program.
        inputs: float32 [n, ...]; cast to what the program takes.

    Returns:
        float32, the program's outputs [n, ...].
    """
    module = program.module()
    assert isinstance(module, GraphModule)  # noqa: S101 - torch's promise
    without_guards(module)
    kind = user_input(program).meta["val"].dtype
    state = {name: value.clone() for name, value in module.named_buffers()}
    outputs = []
    with torch.no_grad():
        for start in range(0, len(inputs), _ROWS):
            rows = np.array(inputs[start : start + _ROWS], np.float32)
            outputs.append(module(torch.from_numpy(rows).to(kind)).float().numpy())
        # The module shares the program's memory, and may count its calls there.
        for name, value in module.named_buffers():
            value.copy_(state[name])
    return np.concatenate(outputs)


def without_guards(module: GraphModule) -> None:
    """Takes out what only refuses: a batch of one row, which every operator here accepts."""
    for node in list(module.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            module.graph.erase_node(node)
    module.recompile()


def _cast(module: GraphModule) -> None:
    for node in list(module.graph.nodes):
        if str(node.target).startswith("aten._assert_tensor_metadata"):
            module.graph.erase_node(node)
            continue
        node.args, node.kwargs = map_aggregate(node.args, _wide), map_aggregate(node.kwargs, _wide)
        if _is_autocast(node):
            node.args = (*node.args[:2], False, *node.args[3:])
        if node.op == "get_attr":
            _cast_constant(module, str(node.target))
    module.recompile()


def _is_autocast(node: Node) -> bool:
    return "wrap_with_autocast" in str(node.target)


def _cast_constant(module: nn.Module, name: str) -> None:
    *way, last = name.split(".")
    owner = module.get_submodule(".".join(way))
    value = getattr(owner, last, None)
    if type(value) is Tensor and value.is_floating_point():
        setattr(owner, last, value.float())


def _wide(value: Any) -> Any:
    return torch.float32 if isinstance(value, torch.dtype) and value.is_floating_point else value
