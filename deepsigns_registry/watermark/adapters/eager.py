"""An eager `nn.Module` as a tapped model: a hook reads the tap."""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepsigns_registry.errors import UnmarkableError
from deepsigns_registry.watermark.adapters.behind import WeightBehind, find_weight
from deepsigns_registry.watermark.adapters.choice import TapChoice
from deepsigns_registry.watermark.tapped import Tapped, TappedModel, pool

__all__ = ["EagerTappedModel", "choose_tap"]

INPUT_SUFFIX = ":input"


class EagerTappedModel(TappedModel):
    """An eager module, tapped at the output of a submodule.

    Args:
        module: The model: one tensor in, logits [batch, classes] out.
        tap: Path of the submodule, such as `features.2`; with `:input` behind it, the tap is
            what the submodule reads instead of what it gives.

    Raises:
        UnmarkableError: There is no such submodule.
    """

    def __init__(self, module: nn.Module, tap: str) -> None:
        super().__init__()
        path = tap.removesuffix(INPUT_SUFFIX)
        known = {name: part for name, part in module.named_modules() if name}
        if path not in known:
            raise UnmarkableError(
                f"the model has no layer '{path}'", advice=f"choose one of: {', '.join(known)}"
            )
        self.module = module
        self.tap = tap
        self._row: tuple[int, ...] | None = None
        self._behind: tuple[WeightBehind | None] | None = None

    def forward(self, inputs: Tensor) -> Tapped:
        """Runs the module and keeps what passes the tap; see `TappedModel.forward`."""
        if self._row is None:
            self._row = tuple(inputs.shape[1:])
        seen: list[Tensor] = []
        with _watch(self.module, self.tap, seen):
            outputs = self.module(inputs)
        if not seen:
            raise UnmarkableError(
                f"layer '{self.tap}' gave no tensor", advice="choose a layer that the model runs"
            )
        return Tapped(outputs, pool(seen[-1]))

    def tap_weight(self) -> Tensor | None:
        """The weight behind the tap; see `TappedModel.tap_weight`.

        Raises:
            RuntimeError: No batch has been run yet, so that the shape of an input is not known.
        """
        if self._behind is None:
            if self._row is None:
                raise RuntimeError("run a batch before asking for the weight behind the tap")
            self._behind = (find_weight(self, self._row),)
        (behind,) = self._behind
        tensors = dict(self.named_parameters()) | dict(self.named_buffers())
        return None if behind is None else behind.rows(tensors.__getitem__)


def choose_tap(module: nn.Module, example: Tensor, layer: str = "auto") -> TapChoice:
    """Chooses the last hidden activation before the output layer.

    Args:
        module: The model.
        example: A batch of inputs, two or more.
        layer: `auto`, or the path of a layer to take as it is.

    Raises:
        UnmarkableError: There is no such layer, or no hidden layer at all.
    """
    if layer != "auto":
        EagerTappedModel(module, layer)
        return TapChoice(layer, f"'{layer}' was asked for")
    order, values, outputs = _record(module, example)
    last = _output_layer(order, values, outputs)
    read = values[last][0]
    # The first layer from the output whose result is what the output layer reads; layers that
    # only pass it on (dropout in evaluation, flatten of a flat tensor) are walked over.
    same = [
        name
        for name in order[: order.index(last)]
        if values[name][1].shape == read.shape and torch.equal(values[name][1], read)
    ]
    if same:
        return TapChoice(
            same[0], f"'{same[0]}' is the last hidden activation: output layer '{last}' reads it"
        )
    if torch.equal(read, example):
        raise UnmarkableError(
            f"the model has no hidden layer: output layer '{last}' reads the inputs",
            advice="mark a model with a hidden layer",
        )
    return TapChoice(
        f"{last}{INPUT_SUFFIX}",
        f"what output layer '{last}' reads is the last hidden activation, and no layer has it "
        "as its output",
    )


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


def _record(
    module: nn.Module, example: Tensor
) -> tuple[list[str], dict[str, tuple[Tensor, Tensor]], Tensor]:
    """Leaf modules in the order of their runs, what each read and gave, and the outputs."""
    order: list[str] = []
    values: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for name, part in module.named_modules():
        if not name or next(part.children(), None) is not None:
            continue

        def keep(
            _layer: nn.Module, inputs: tuple[object, ...], output: object, name: str = name
        ) -> None:
            given = inputs[0] if inputs else None
            if isinstance(given, Tensor) and isinstance(output, Tensor):
                order.append(name)
                # In-place layers overwrite what they read.
                values[name] = (given.detach().clone(), output.detach().clone())

        handles.append(part.register_forward_hook(keep))
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            outputs = module(example)
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return order, values, outputs


def _output_layer(
    order: list[str], values: dict[str, tuple[Tensor, Tensor]], outputs: Tensor
) -> str:
    for name in reversed(order):
        given, output = values[name]
        if output.shape == outputs.shape and torch.equal(output, outputs):
            if output.shape == given.shape and torch.equal(output, given):
                continue
            return name
    raise UnmarkableError(
        "no layer of the model gives its output", advice="name the tap with layer = '<path>'"
    )
