"""A `torch.export` program as a tapped model: what MLflow stores, without the user's class.

Hooks do not fire in an exported graph. Its nodes remember the modules that they came from
(`nn_module_stack`), which names the taps; the tapped value becomes a second output.
"""

import io
from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.graph import CodeGen

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.behind import WeightBehind, find_weight
from deepsigns_registry.watermark.adapters.blocks import find_blocks
from deepsigns_registry.watermark.adapters.choice import (
    ANY_WIDTH,
    Candidate,
    TapChoice,
    Width,
    named,
    neurons_of,
    ordered,
)
from deepsigns_registry.watermark.data import Task
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool

__all__ = ["ExportedTappedModel", "choose_tap", "tap_candidates"]

# Operators that apply a weight, with the position of the argument that holds the activation.
_WEIGHTED = {
    "linear": 0,
    "addmm": 1,
    "mm": 0,
    "matmul": 0,
    "conv1d": 0,
    "conv2d": 0,
    "conv3d": 0,
    "convolution": 0,
    "gru": 0,
    "lstm": 0,
    "rnn_tanh": 0,
    "rnn_relu": 0,
}
# In evaluation these give what they read, when the shape stays the same.
_IDENTITIES = {
    "dropout",
    "contiguous",
    "clone",
    "alias",
    "detach",
    "view",
    "reshape",
    "flatten",
    "to",
    "_to_copy",
    "squeeze",
    "unsqueeze",
    "alpha_dropout",
    "feature_dropout",
}
# Position of the `training` argument of operators that behave differently in training.
_TRAINING_FLAGS = {
    "dropout": 2,
    "alpha_dropout": 2,
    "feature_dropout": 2,
    "feature_alpha_dropout": 2,
    "native_dropout": 2,
    "batch_norm": 5,
    "instance_norm": 5,
    "native_batch_norm": 5,
    "_native_batch_norm_legit": 5,
    "cudnn_batch_norm": 5,
    "rrelu": 3,
}


class ExportedTappedModel(TappedModel):
    """An exported program, tapped at a module's result or at a graph node.

    Args:
        program: One float tensor [batch, ...] in, logits [batch, classes] out; exported in
            evaluation mode, with a dynamic batch. It is not changed.
        tap: Path of a module, such as `features.2`, or name of a graph node.

    Raises:
        UnmarkableError: No such layer, a static batch, or the program is in training mode.
    """

    def __init__(self, program: ExportedProgram, tap: str) -> None:
        super().__init__()
        _check_program(program)
        node = _node_of(program.graph, tap)
        # Kept as bytes: a program cannot be copied deeply, and attacks copy models.
        self._program = _saved(program)
        own = _loaded(self._program)
        self.tap = tap
        self._row = _row_shape(own)
        self._behind: tuple[WeightBehind | None] | None = None
        self.graph_module = _tapped_module(own, node.name)

    def forward(self, inputs: Tensor) -> Tapped:
        """Runs the graph; see `TappedModel.forward`."""
        outputs, activation = self.graph_module(inputs)
        return Tapped(outputs, pool(activation))

    def tap_weight(self) -> Tensor | None:
        """The weight behind the tap; see `TappedModel.tap_weight`."""
        if self._behind is None:
            self._behind = (find_weight(self, self._row),)
        (behind,) = self._behind
        tensors = dict(self.named_parameters()) | dict(self.named_buffers())
        return None if behind is None else behind.rows(tensors.__getitem__)

    def tap_blocks(self) -> int:
        """How the tap's neurons are grouped; see `TappedModel.tap_blocks`."""
        return find_blocks(self, self._row)

    def train(self, mode: bool = True) -> Self:
        """Notes the mode; an exported graph stays as it was exported, in evaluation."""
        self.training = mode
        return self

    def write_back(self) -> ExportedProgram:
        """The program with this model's weights: same graph, same layer names.

        `torch.export.save` writes it as a `pt2` file that MLflow loads like the original.
        """
        program = _loaded(self._program)
        trained = self.graph_module.state_dict()
        with torch.no_grad():
            for name, value in program.state_dict.items():
                # Buffers that evaluation never reads are not in the graph, and did not change.
                if name in trained:
                    value.copy_(trained[name])
        return program


def choose_tap(
    program: ExportedProgram,
    layer: str = "auto",
    *,
    width: Width = ANY_WIDTH,
    task: Task = "classification",
) -> TapChoice:
    """Chooses a hidden activation that a layer reads: the last that is wide enough.

    Args:
        program: The model.
        layer: `auto`, or the path of a layer (or name of a graph node) to take as it is.
        width: What the mark needs; see `whitebox.width_needed`.
        task: What the model is for; a classifier must give logits.

    Raises:
        UnmarkableError: There is no such layer, no hidden layer at all, or none is wide enough.
    """
    return tap_candidates(program, layer, width=width, task=task)[0]


def tap_candidates(
    program: ExportedProgram,
    layer: str = "auto",
    *,
    width: Width = ANY_WIDTH,
    task: Task = "classification",
) -> tuple[TapChoice, ...]:
    """Every hidden activation that can hold a mark, in order of preference; see `choose_tap`.

    Args:
        program: The model.
        layer: `auto`, or the path of a layer (or name of a graph node), then the only candidate.
        width: What the mark needs; see `whitebox.width_needed`.
        task: What the model is for; a classifier must give logits.

    Raises:
        UnmarkableError: There is no such layer, no hidden layer at all, or none is wide enough.
    """
    _check_program(program)
    graph = program.graph
    if task == "classification":
        _check_logits(graph)
    if layer != "auto":
        return (named(layer, neurons_of(_shape(_node_of(graph, layer)) or ())),)
    readers, learned = _readers(program)
    if not readers:
        raise UnmarkableError(
            "no layer with a weight was found", advice="name the tap with layer = '<path>'"
        )
    batch = _batch(_user_input(program))
    hidden = [
        (reader, read)
        for reader, read in reversed(readers)
        if read in learned and _rank(read) >= 2 and _batch(read) == batch
    ]
    # Pooling takes (batch, channels, length) for tokens, so that its neurons would be positions.
    hidden = [pair for pair in hidden if not _is_signal(*pair)] or hidden
    candidates = [
        Candidate(_name_of(graph, _origin(read)), _name(reader), neurons_of(_shape(read) or ()))
        for reader, read in hidden
    ]
    if not candidates:
        raise UnmarkableError(
            f"the model has no hidden layer: output layer '{_name(readers[-1][0])}' reads the "
            "inputs",
            advice="mark a model with a hidden layer",
        )
    return ordered(candidates, width)


def _check_program(program: ExportedProgram) -> None:
    names = program.graph_signature.user_inputs
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    given = [node for node in inputs if node.name in names]
    if len(given) != 1 or len(program.graph_signature.user_outputs) != 1 or _rank(given[0]) < 1:
        raise UnmarkableError(
            f"the model takes {len(names)} inputs and gives "
            f"{len(program.graph_signature.user_outputs)} outputs",
            advice="register a model with one input tensor and one output tensor",
        )
    for node in program.graph.nodes:
        position = _TRAINING_FLAGS.get(_operator(node))
        if position is not None and len(node.args) > position and node.args[position] is True:
            raise UnmarkableError(
                f"layer '{_path(node) or node.name}' was exported in training mode",
                advice="call model.eval() before mlflow.pytorch.log_model, and register again",
            )
    if program.graph_signature.buffers_to_mutate:
        changed = next(iter(program.graph_signature.buffers_to_mutate.values()))
        raise UnmarkableError(
            f"the model changes its own state ('{changed}') when it runs",
            advice="call model.eval() before mlflow.pytorch.log_model, and register again",
        )
    if not isinstance(given[0].meta["val"].shape[0], torch.SymInt):
        raise UnmarkableError(
            f"the model accepts batches of {given[0].meta['val'].shape[0]} only",
            advice="log it with an input_example of at least two rows, and register again",
        )
    if not given[0].meta["val"].is_floating_point():
        raise UnmarkableError(
            f"the model's input is {given[0].meta['val'].dtype}",
            advice="register a model that takes float32 inputs",
        )


def _row_shape(program: ExportedProgram) -> tuple[int, ...]:
    names = program.graph_signature.user_inputs
    (given,) = [node for node in program.graph.nodes if node.name in names]
    return tuple(int(extent) for extent in given.meta["val"].shape[1:])


def _saved(program: ExportedProgram) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _loaded(content: bytes) -> ExportedProgram:
    return torch.export.load(io.BytesIO(content))


def _tapped_module(program: ExportedProgram, tap: str) -> GraphModule:
    """The program's module with plain arguments, and the tap as its second output."""
    module = program.module()
    assert isinstance(module, GraphModule)  # noqa: S101 - torch's promise
    graph = module.graph
    for node in list(graph.nodes):
        # The guards refuse a batch of one row, which every operator here accepts.
        if node.op == "call_module" and node.target == "_guards_fn":
            graph.erase_node(node)
    outputs = _output_node(graph)
    (result,) = outputs.args[0] if isinstance(outputs.args[0], tuple | list) else outputs.args
    tapped = next(node for node in graph.nodes if node.name == tap)
    outputs.args = ((result, tapped),)
    graph.set_codegen(CodeGen())
    for node in graph.nodes:
        # Fake tensors and symbols of the export hinder copying, and nothing below needs them.
        stack = node.meta.get("nn_module_stack")
        node.meta = {"nn_module_stack": stack} if stack else {}
    graph.eliminate_dead_code()
    return GraphModule(module, graph)


def _output_node(graph: Graph) -> Node:
    nodes: list[Node] = [node for node in graph.nodes if node.op == "output"]
    return nodes[-1]


def _readers(program: ExportedProgram) -> tuple[list[tuple[Node, Node]], set[Node]]:
    """Layers that apply a weight to an activation, and what each reads, in the graph's order.

    Also every node that weights had a part in.
    """
    given = _user_input(program)
    weights = set(program.graph_signature.inputs_to_parameters)
    dependent: set[Node] = set()
    learned: set[Node] = set()
    readers = []
    for node in program.graph.nodes:
        above = node.all_input_nodes
        # Sizes, and the zeros that a recurrence starts at, say nothing of the inputs' values.
        sizes = isinstance(node.meta.get("val"), torch.SymInt)
        if node is given or (dependent.intersection(above) and not sizes):
            dependent.add(node)
        if node.name in weights or learned.intersection(above):
            learned.add(node)
        position = _WEIGHTED.get(_operator(node))
        # A product of two activations, as in attention, applies no weight.
        if position is not None and len(dependent.intersection(above)) == 1:
            read = _argument(node, position)
            if read in dependent:
                readers.append((node, read))
    return readers, learned


def _is_signal(reader: Node, read: Node) -> bool:
    return _operator(reader) in {"conv1d", "convolution"} and _rank(read) == 3


def _user_input(program: ExportedProgram) -> Node:
    (name,) = program.graph_signature.user_inputs
    nodes: list[Node] = [node for node in program.graph.nodes if node.name == name]
    return nodes[0]


def _origin(node: Node) -> Node:
    """The node whose value this one only passes on."""
    while _operator(node) in _IDENTITIES and _shape(node) == _shape(_argument(node, 0)):
        node = _argument(node, 0)
    return node


def _check_logits(graph: Graph) -> None:
    (results,) = _output_node(graph).args
    node = results[0] if isinstance(results, tuple | list) else results
    while isinstance(node, Node) and _operator(node) in _IDENTITIES:
        node = node.args[0]
    if isinstance(node, Node) and _operator(node) in {"softmax", "_softmax", "sigmoid"}:
        raise UnmarkableError(
            "the model's outputs are probabilities, not logits",
            advice="register the model without its final softmax",
        )


def _node_of(graph: Graph, tap: str) -> Node:
    """The last node of a module, or the node of that name."""
    nodes: list[Node] = [node for node in graph.nodes if node.op == "call_function"]
    nodes = [node for node in nodes if _rank(node) >= 2]
    found = [node for node in nodes if tap and tap in _paths(node)]
    found = found or [node for node in nodes if node.name == tap]
    if not found:
        paths = dict.fromkeys(_path(node) for node in nodes)
        raise UnmarkableError(
            f"the model has no layer '{tap}'",
            advice=f"choose one of: {', '.join(path for path in paths if path)}",
        )
    return found[-1]


def _name_of(graph: Graph, node: Node) -> str:
    path = _path(node)
    return path if path and _node_of(graph, path) is node else node.name


def _paths(node: Node) -> Iterator[str]:
    for entry in (node.meta.get("nn_module_stack") or {}).values():
        yield str(entry[0])


def _path(node: Node) -> str:
    """Path of the innermost module that a node came from."""
    return list(_paths(node))[-1] if node.meta.get("nn_module_stack") else ""


def _name(node: Node) -> str:
    return _path(node) or node.name


def _operator(node: Node) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return str(getattr(packet, "__name__", ""))


def _batch(node: Node) -> str:
    """How many rows a value has, as an expression of the batch: a product is another one."""
    return str(node.meta["val"].shape[0])


def _argument(node: Node, position: int) -> Node:
    argument = node.args[position]
    assert isinstance(argument, Node)  # noqa: S101 - these operators read a tensor there
    return argument


def _shape(node: Node) -> tuple[int, ...] | None:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _rank(node: Node) -> int:
    value = node.meta.get("val")
    return value.ndim if isinstance(value, Tensor) and value.is_floating_point() else 0
