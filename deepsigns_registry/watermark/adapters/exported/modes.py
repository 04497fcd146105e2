"""What makes a program answer differently each time: training mode, chance, control flow."""

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.exported.nodes import (
    given,
    layer_of,
    operator,
    with_nested,
)

__all__ = ["check_modes"]

# Operators with a switch for training, and the arguments that say how often they drop a value.
_SWITCHES = {"train", "training"}
_CHANCES = {"p", "dropout", "dropout_p"}
_RECURRENT = {"gru", "lstm", "rnn_tanh", "rnn_relu"}
# These run a part of the model as it is, under another setting.
_WRAPPERS = {"wrap_with_set_grad_enabled", "wrap_with_autocast"}
_AGAIN = "call model.eval() before mlflow.pytorch.log_model, and register again"


def check_modes(program: ExportedProgram) -> None:
    """Checks that a program is in evaluation mode and computes the same each time.

    Raises:
        UnmarkableError: A layer is in training mode, draws random numbers or normalises over the
            batch, or the program chooses while it runs what it computes.
    """
    for node in with_nested(program.graph):
        if node.op != "call_function":
            continue
        if isinstance(node.target, torch._ops.HigherOrderOperator):  # noqa: SLF001 - no other name
            _check_wrapper(node.target.name())
            continue
        _check_normalisation(node)
        _check_chance(node)


def _check_wrapper(name: str) -> None:
    if name not in _WRAPPERS:
        message = f"the model chooses while it runs what it computes ('{name}')"
        advice = "an ONNX file of it is not run here: do without torch.cond, loops, map and scan"
        raise UnmarkableError(message, advice=advice, public=f"{message}; {advice}")


def _check_normalisation(node: Node) -> None:
    name = operator(node)
    statistics = given(node, "running_mean")
    if name == "instance_norm":
        # Without running statistics it uses the input's own, in evaluation as in training.
        if given(node, "use_input_stats") and statistics is not None:
            raise _in_training(node)
    elif name.rstrip("_").endswith("batch_norm") or "batch_norm_legit" in name:
        if given(node, "training") is not True:
            return
        if statistics is not None:
            raise _in_training(node)
        message = "normalises over the batch, so that an answer depends on the other rows"
        advice = "build its BatchNorm with track_running_stats=True, and train the model again"
        raise UnmarkableError(
            f"layer '{layer_of(node)}' {message}",
            advice=advice,
            public=f"a layer {message}; {advice}",
        )


def _check_chance(node: Node) -> None:
    tags = getattr(node.target, "tags", ())
    if torch.Tag.nondeterministic_seeded not in tags:
        return
    schema = node.target._schema  # type: ignore[union-attr]  # noqa: SLF001 - no other name
    known = {argument.name for argument in schema.arguments}
    switches, chances = known & _SWITCHES, known & _CHANCES
    if any(given(node, switch) is False for switch in switches):
        return
    if any(given(node, chance) == 0 for chance in chances):
        return
    if operator(node) in _RECURRENT and given(node, "num_layers") == 1:
        return  # dropout stands between layers only
    if switches or chances:
        raise _in_training(node)
    message, advice = (
        "draws random numbers, so that its answers cannot be repeated",
        ("draw them in training only, and register again"),
    )
    raise UnmarkableError(
        f"layer '{layer_of(node)}' {message}",
        advice=advice,
        public=f"the model {message}; {advice}",
    )


def _in_training(node: Node) -> UnmarkableError:
    advice = _AGAIN
    if operator(node).rstrip("_").endswith(("dropout", "attention")):
        advice += " (a functional dropout needs training=self.training)"
    return UnmarkableError(
        f"layer '{layer_of(node)}' was exported in training mode",
        advice=advice,
        public=f"the model was exported in training mode; {advice}",
    )
