"""The trainable view of an exported program."""

import copy
import io
from typing import Self

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.graph import CodeGen

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.behind import WeightBehind, find_weight
from deepsigns_registry.watermark.adapters.blocks import find_layout
from deepsigns_registry.watermark.adapters.exported.ending import logits_of
from deepsigns_registry.watermark.adapters.exported.interface import check_program
from deepsigns_registry.watermark.adapters.exported.nodes import output_node, user_input
from deepsigns_registry.watermark.adapters.exported.precision import (
    own_types,
    to_float32,
    without_guards,
)
from deepsigns_registry.watermark.adapters.exported.state import idle_writes, writes_its_input
from deepsigns_registry.watermark.adapters.exported.taps import node_of
from deepsigns_registry.watermark.adapters.outputs import give_probabilities, log_probabilities
from deepsigns_registry.watermark.data import Task
from deepsigns_registry.watermark.tap import Layout
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool

__all__ = ["ExportedTappedModel"]


class ExportedTappedModel(TappedModel):
    """An exported program, tapped at a module's result or at a graph node.

    It computes in float32, whatever the program's own type; of a classifier that ends in a
    softmax or sigmoid it gives the logits. What it writes back is as it was registered.

    Args:
        program: One float tensor [batch, ...] in, one float tensor [batch, ...] out; exported
            in evaluation mode, with a dynamic batch. It is not changed.
        tap: Path of a module, such as `features.2`, or name of a graph node.
        task: What the model is for: only a classifier's final softmax is passed over.

    Raises:
        UnmarkableError: No such layer, or see `check_program`.
    """

    def __init__(
        self, program: ExportedProgram, tap: str, *, task: Task = "classification"
    ) -> None:
        super().__init__()
        check_program(program)
        node, idle = node_of(program.graph, tap), idle_writes(program)
        if node.name in idle:
            raise UnmarkableError(
                f"no output depends on layer '{tap}'", advice="choose another hidden layer"
            )
        self._registered = _Registered(program)
        self.tap = tap
        self._row = tuple(int(extent) for extent in user_input(program).meta["val"].shape[1:])
        self._copies = writes_its_input(program)
        self._behind: tuple[WeightBehind | None] | None = None
        logits = logits_of(program) if task == "classification" else None
        self._unwrapped = logits is not None
        self.graph_module = _tapped_module(program, node.name, logits.name if logits else "", idle)
        self._logarithm = (
            task == "classification"
            and logits is None
            and give_probabilities(
                lambda inputs: self.as_registered(inputs).outputs,
                self._row,
                next(self.graph_module.parameters(), None),
            )
        )

    def forward(self, inputs: Tensor) -> Tapped:
        """Runs the graph; see `TappedModel.forward`."""
        outputs, logits, activation = self._run(inputs)
        if self._unwrapped:
            outputs = logits.reshape(outputs.shape)
        elif self._logarithm:
            outputs = log_probabilities(outputs)
        return Tapped(outputs, pool(activation))

    def as_registered(self, inputs: Tensor) -> Tapped:
        """The same with a final softmax or sigmoid; see `TappedModel.as_registered`."""
        outputs, _, activation = self._run(inputs)
        return Tapped(outputs, pool(activation))

    def tap_weight(self) -> Tensor | None:
        """The weight behind the tap; see `TappedModel.tap_weight`."""
        if self._behind is None:
            self._behind = (find_weight(self, self._row),)
        (behind,) = self._behind
        tensors = dict(self.named_parameters()) | dict(self.named_buffers())
        return None if behind is None else behind.rows(tensors.__getitem__)

    def tap_layout(self) -> Layout | None:
        """Where the tap's channels stand; see `TappedModel.tap_layout`."""
        return find_layout(self, self._row)

    def train(self, mode: bool = True) -> Self:
        """Notes the mode; an exported graph stays as it was exported, in evaluation."""
        self.training = mode
        return self

    def write_back(self) -> ExportedProgram:
        """The program with this model's weights: same graph, same layer names, same float types.

        `torch.export.save` writes it as a `pt2` file that MLflow loads like the original.
        """
        program = self._registered.copy()
        trained = self.graph_module.state_dict()
        with torch.no_grad():
            for name, value in program.state_dict.items():
                # Buffers that evaluation never reads are not in the graph, and did not change.
                if name in trained:
                    value.copy_(trained[name])
        return program

    def _run(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = inputs.clone() if self._copies else inputs
        outputs, logits, activation = self.graph_module(given)
        return outputs, logits, activation


class _Registered:
    """A program that nobody changes; copies of a model share it, as it cannot be copied deeply."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program

    def __deepcopy__(self, _memo: dict[int, object]) -> Self:
        return self

    def copy(self) -> ExportedProgram:
        """A program of its own."""
        buffer = io.BytesIO()
        torch.export.save(self._program, buffer)
        buffer.seek(0)
        return torch.export.load(buffer)


def _tapped_module(
    program: ExportedProgram, tap: str, logits: str, idle: frozenset[str]
) -> GraphModule:
    """A module of its own with plain arguments, that gives outputs, logits and the tap.

    Without logits of their own, the outputs stand there twice.
    """
    module = program.module()
    assert isinstance(module, GraphModule)  # noqa: S101 - torch's promise
    without_guards(module)
    graph = module.graph
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and node.name in idle:
            graph.erase_node(node)
    outputs = output_node(graph)
    (result,) = outputs.args[0] if isinstance(outputs.args[0], tuple | list) else outputs.args
    named = {node.name: node for node in graph.nodes}
    outputs.args = ((result, named[logits] if logits else result, named[tap]),)
    graph.set_codegen(CodeGen())
    for node in graph.nodes:
        # Fake tensors and symbols of the export hinder copying, and nothing below needs them.
        stack = node.meta.get("nn_module_stack")
        node.meta = {"nn_module_stack": stack} if stack else {}
    graph.eliminate_dead_code()
    own = copy.deepcopy(GraphModule(module, graph))
    if own_types(program) != {torch.float32}:
        to_float32(own)
    return own
