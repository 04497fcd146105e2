"""Reading a model at another tap than its own: the one that `layer = "auto"` chooses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.errors import CouldNotCheckError, UnmarkableError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters import eager, exported
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["retapped"]


@contextmanager
def retapped(model: TappedModel, examples: Tensor, attack: str) -> Iterator[TappedModel]:
    """Gives a view of a model that is tapped at what its output layer reads.

    What is trained through the view is trained in the model, once the context ends.

    Args:
        model: Any of our three adapters.
        examples: float32 [batch, ...], on the model's device.
        attack: Name of the attack, for errors.

    Raises:
        CouldNotCheckError: It is no adapter of ours.
        UnmarkableError: The model has no hidden layer.
    """
    if isinstance(model, eager.EagerTappedModel):
        choice = eager.choose_tap(model.module, examples)
        yield eager.EagerTappedModel(model.module, choice.tap).eval()
    elif isinstance(model, exported.ExportedTappedModel):
        program = model.write_back()
        view = exported.ExportedTappedModel(program, exported.choose_tap(program).tap)
        yield view.to(examples.device).eval()
        model.graph_module.load_state_dict(view.graph_module.state_dict())
    elif isinstance(model, OnnxTappedModel):
        own = model.tap
        model.tap = _read_by_last_layer(model, examples)
        try:
            yield model
        finally:
            model.tap = own
    else:
        raise CouldNotCheckError(
            f"attack {attack}: cannot tap a {type(model).__name__} elsewhere",
            advice="attack the model's ONNX file",
        )


def _read_by_last_layer(model: OnnxTappedModel, examples: Tensor) -> str:
    """The last tensor in graph order that holds what the output layer reads."""
    last = Layers(model, examples).layers[:1]
    if not last or last[0].read is None or not last[0].hidden:
        raise UnmarkableError(
            f"{model.where}: no hidden layer is read by an output layer with float weights",
            advice="mark a model with a hidden layer",
        )
    read = last[0].read.detach().flatten()
    with torch.no_grad():
        values = model.tensors(examples)
    names = [
        name
        for name, value in values.items()
        if value is not None
        and value.ndim in {2, 3, 4}
        and len(value) == len(examples)
        and torch.equal(value.flatten(), read)
    ]
    if not names:
        raise UnmarkableError(
            f"{model.where}: the tensor that the output layer reads was not found",
            advice="export the model again with the default exporter",
        )
    return names[-1]
