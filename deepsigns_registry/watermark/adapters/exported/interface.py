"""Which programs can be taken at all: every reason why not is found in the graph, in a moment."""

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils._pytree import TreeSpec

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.exported.modes import check_modes
from deepsigns_registry.watermark.adapters.exported.nodes import output_node, user_input
from deepsigns_registry.watermark.adapters.exported.state import idle_writes

__all__ = ["check_program"]

_ONE = "register a model with one input tensor and one output tensor"


def check_program(program: ExportedProgram) -> None:
    """Checks that a program takes one batch of float rows, gives one tensor, and repeats itself.

    Raises:
        UnmarkableError: It does not; says why, and names no hidden layer in `public`.
    """
    _check_input(program)
    _check_output(program)
    check_modes(program)
    idle_writes(program)


def _check_input(program: ExportedProgram) -> None:
    count = len(program.graph_signature.user_inputs)
    if count != 1:
        raise _refused(f"the model takes {count} inputs", _ONE)
    arguments, keywords = program.call_spec.in_spec.children()
    if not all(spec.is_leaf() for spec in (*arguments.children(), *keywords.children())):
        raise _refused("the model's input is a list, tuple or dict of tensors", _ONE)
    value = user_input(program).meta.get("val")
    if not isinstance(value, Tensor):
        raise _refused(f"the model's input is no tensor but a {type(value).__name__}", _ONE)
    if not value.is_floating_point():
        raise _refused(
            f"the model's input is {_name(value.dtype)}: integer inputs, such as tokens, are not "
            "supported yet"
            if value.dtype in _INTEGERS
            else f"the model's input is {_name(value.dtype)}",
            "register a model that takes floating-point inputs",
        )
    shape: tuple[object, ...] = tuple(value.shape)
    if not shape or not isinstance(shape[0], torch.SymInt):
        rows = shape[0] if shape else "no"
        raise _refused(
            f"the model accepts batches of {rows} row{'' if rows == 1 else 's'} only",
            "log it with an input_example of at least two rows, and register again",
        )
    if not all(isinstance(extent, int) for extent in shape[1:]):
        shown = ", ".join(map(str, shape))
        raise _refused(
            f"the model accepts rows of any size: its input has shape ({shown})",
            "log it with a fixed shape of one row, and register again",
        )


def _check_output(program: ExportedProgram) -> None:
    count = len(program.graph_signature.user_outputs)
    if count != 1:
        raise _refused(f"the model gives {count} outputs", _ONE)
    spec: TreeSpec = program.call_spec.out_spec
    if not spec.is_leaf():
        raise _refused(f"the model's output is a {_kind(spec)} around one tensor", _ONE)
    (results,) = output_node(program.graph).args
    node = results[-1] if isinstance(results, tuple | list) else results
    value = getattr(node, "meta", {}).get("val")
    if not isinstance(value, Tensor):
        raise _refused("the model's output is no tensor that depends on its input", _ONE)
    if not value.is_floating_point():
        raise _refused(
            f"the model's output is {_name(value.dtype)}, not numbers that can be trained",
            "register the model without its final argmax or rounding",
        )


_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}


def _kind(spec: TreeSpec) -> str:
    return str(getattr(spec.type, "__name__", spec.type))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _refused(message: str, advice: str) -> UnmarkableError:
    # Nothing here names a layer.
    return UnmarkableError(message, advice=advice, public=f"{message}; {advice}")
