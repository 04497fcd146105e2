"""An eager `nn.Module` as a tapped model: a hook reads the tap."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.behind import WeightBehind, find_weight
from deepsigns_registry.watermark.adapters.blocks import find_layout
from deepsigns_registry.watermark.adapters.choice import (
    ANY_WIDTH,
    Candidate,
    TapChoice,
    Width,
    named,
    neurons_of,
    ordered,
)
from deepsigns_registry.watermark.adapters.outputs import give_probabilities, log_probabilities
from deepsigns_registry.watermark.data import Task
from deepsigns_registry.watermark.tap import Layout
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool

__all__ = ["EagerTappedModel", "choose_tap", "tap_candidates"]

INPUT_SUFFIX = ":input"


class EagerTappedModel(TappedModel):
    """An eager module, tapped at the output of a submodule.

    Of a classifier that ends in a softmax or sigmoid it gives the logits.

    Args:
        module: The model: one tensor in, outputs [batch, classes] out.
        tap: Path of the submodule, such as `features.2`; with `:input` behind it, the tap is
            what the submodule reads instead of what it gives.
        task: What the model is for: only a classifier's final softmax is passed over.

    Raises:
        UnmarkableError: There is no such submodule.
    """

    def __init__(self, module: nn.Module, tap: str, *, task: Task = "classification") -> None:
        super().__init__()
        path = tap.removesuffix(INPUT_SUFFIX)
        known = {name: part for name, part in module.named_modules() if name}
        if path not in known:
            raise UnmarkableError(
                f"the model has no layer '{path}'", advice=f"choose one of: {', '.join(known)}"
            )
        self.module = module
        self.tap = tap
        self._task = task
        self._row: tuple[int, ...] | None = None
        self._logarithm: bool | None = None if task == "classification" else False
        self._behind: tuple[WeightBehind | None] | None = None

    def forward(self, inputs: Tensor) -> Tapped:
        """Runs the module and keeps what passes the tap; see `TappedModel.forward`."""
        outputs, logits, activation = self._run(inputs)
        if logits is not None:
            return Tapped(logits.reshape(outputs.shape), activation)
        if self._logarithm is None:
            first = next(self.module.parameters(), None)
            self._logarithm = give_probabilities(self.module, inputs.shape[1:], first)
        return Tapped(log_probabilities(outputs) if self._logarithm else outputs, activation)

    def as_registered(self, inputs: Tensor) -> Tapped:
        """The same with a final softmax or sigmoid; see `TappedModel.as_registered`."""
        outputs, _, activation = self._run(inputs)
        return Tapped(outputs, activation)

    def _run(self, inputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Outputs, what the last layer read if that is a softmax or sigmoid, and the activation."""
        if self._row is None:
            self._row = tuple(inputs.shape[1:])
        seen: list[Tensor] = []
        *_, last = self.module.modules()
        ends: list[tuple[Tensor, Tensor]] = []
        with _watch(self.module, self.tap, seen), _watch_end(last, ends):
            outputs = self.module(inputs)
        if not seen:
            raise UnmarkableError(
                f"layer '{self.tap}' gave no tensor", advice="choose a layer that the model runs"
            )
        final = self._task == "classification" and ends and ends[-1][1] is outputs
        return outputs, ends[-1][0] if final else None, pool(seen[-1])

    def tap_weight(self) -> Tensor | None:
        """The weight behind the tap; see `TappedModel.tap_weight`.

        Raises:
            RuntimeError: No batch has been run yet, so that the shape of an input is not known.
        """
        if self._behind is None:
            self._behind = (find_weight(self, self._known_row()),)
        (behind,) = self._behind
        tensors = dict(self.named_parameters()) | dict(self.named_buffers())
        return None if behind is None else behind.rows(tensors.__getitem__)

    def tap_layout(self) -> Layout | None:
        """Where the tap's channels stand; see `TappedModel.tap_layout`.

        Raises:
            RuntimeError: No batch has been run yet, so that the shape of an input is not known.
        """
        return find_layout(self, self._known_row())

    def _known_row(self) -> tuple[int, ...]:
        if self._row is None:
            raise RuntimeError("run a batch before asking how the tap is computed")
        return self._row


def choose_tap(
    module: nn.Module, example: Tensor, layer: str = "auto", *, width: Width = ANY_WIDTH
) -> TapChoice:
    """Chooses a hidden activation that a layer reads: the last that is wide enough.

    Args:
        module: The model.
        example: A batch of inputs, two or more.
        layer: `auto`, or the path of a layer to take as it is.
        width: What the mark needs; see `whitebox.width_needed`.

    Raises:
        UnmarkableError: There is no such layer, no hidden layer at all, or none is wide enough.
    """
    return tap_candidates(module, example, layer, width=width)[0]


def tap_candidates(
    module: nn.Module, example: Tensor, layer: str = "auto", *, width: Width = ANY_WIDTH
) -> tuple[TapChoice, ...]:
    """Every hidden activation that can hold a mark, in order of preference; see `choose_tap`.

    Args:
        module: The model.
        example: A batch of inputs, two or more.
        layer: `auto`, or the path of a layer, then the only candidate.
        width: What the mark needs; see `whitebox.width_needed`.

    Raises:
        UnmarkableError: There is no such layer, no hidden layer at all, or none is wide enough.
    """
    if layer != "auto":
        return (named(layer, _neurons(module, layer, example)),)
    runs = _record(module, example)
    readers = [run for run in runs if _has_weight(module.get_submodule(run.layer))]
    if not readers:
        raise UnmarkableError(
            "no layer with a weight was found", advice="name the tap with layer = '<path>'"
        )
    hidden = [
        run
        for run in reversed(readers)
        if run.learned and run.read.ndim >= 2 and len(run.read) == len(example)
    ]
    # Pooling takes (batch, channels, length) for tokens, so that its neurons would be positions.
    signals = (nn.Conv1d, nn.ConvTranspose1d)
    plain = [run for run in hidden if not isinstance(module.get_submodule(run.layer), signals)]
    candidates = [
        Candidate(_name_of(runs, run), run.layer, neurons_of(run.read.shape))
        for run in plain or hidden
    ]
    if not candidates:
        raise UnmarkableError(
            f"the model has no hidden layer: output layer '{readers[-1].layer}' reads the inputs",
            advice="mark a model with a hidden layer",
        )
    return ordered(candidates, width)


class _Run(NamedTuple):
    """The last run of a leaf module: what it read and gave, and whether weights made the former."""

    layer: str
    read: Tensor
    gave: Tensor | None
    learned: bool


def _neurons(module: nn.Module, layer: str, example: Tensor) -> int:
    modes = {part: part.training for part in module.modules()}
    model = EagerTappedModel(module, layer).eval()
    try:
        with torch.no_grad():
            return int(model(example).activation.shape[1])
    finally:
        for part, mode in modes.items():
            part.training = mode


def _has_weight(layer: nn.Module) -> bool:
    if isinstance(layer, nn.RNNBase):
        return True
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2


def _name_of(runs: list[_Run], reader: _Run) -> str:
    """The first layer that gives what the reader reads, or the reader's input.

    Layers that only pass it on (dropout in evaluation, flatten of a flat tensor) come later.
    """
    for run in runs[: runs.index(reader)]:
        gave = run.gave
        if gave is not None and gave.shape == reader.read.shape and torch.equal(gave, reader.read):
            return run.layer
    return f"{reader.layer}{INPUT_SUFFIX}"


def _watch(module: nn.Module, tap: str, seen: list[Tensor]) -> RemovableHandle:
    layer = module.get_submodule(tap.removesuffix(INPUT_SUFFIX))

    def keep_input(_layer: nn.Module, inputs: tuple[object, ...]) -> None:
        seen.extend(value for value in inputs[:1] if isinstance(value, Tensor))

    def keep_output(_layer: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor):
            seen.append(output)

    if tap.endswith(INPUT_SUFFIX):
        return layer.register_forward_pre_hook(keep_input)
    return layer.register_forward_hook(keep_output)


def _watch_end(last: nn.Module, seen: list[tuple[Tensor, Tensor]]) -> RemovableHandle:
    """Keeps what a layer reads and gives, if it turns logits into probabilities."""

    def keep(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(last, nn.Softmax | nn.Sigmoid):
            seen.append((inputs[0], output))

    return last.register_forward_hook(keep)


def _record(module: nn.Module, example: Tensor) -> list[_Run]:
    """The last run of each leaf module, in the order of their runs."""
    runs: dict[str, _Run] = {}
    handles = []
    for name, part in module.named_modules():
        if not name or next(part.children(), None) is not None:
            continue

        def keep(
            _layer: nn.Module, inputs: tuple[object, ...], output: object, name: str = name
        ) -> None:
            given = inputs[0] if inputs else None
            if isinstance(given, Tensor):
                runs.pop(name, None)
                # In-place layers overwrite what they read.
                gave = output.detach().clone() if isinstance(output, Tensor) else None
                runs[name] = _Run(name, given.detach().clone(), gave, given.requires_grad)

        handles.append(part.register_forward_hook(keep))
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        # Automatic differentiation tells what weights had a part in.
        with torch.enable_grad():
            module(example)
    finally:
        for part, mode in modes.items():
            part.training = mode
        for handle in handles:
            handle.remove()
    return list(runs.values())
