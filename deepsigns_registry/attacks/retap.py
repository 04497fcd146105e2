"""Reading a model at another tap than its own: the one that `layer = "auto"` chooses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from deepsigns_registry.attacks.layers import Layers
from deepsigns_registry.errors import CouldNotCheckError, UnmarkableError
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.adapters import eager, exported
from deepsigns_registry.watermark.adapters.choice import (
    ANY_WIDTH,
    Candidate,
    Width,
    choose,
    neurons_of,
)
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["retapped"]


@contextmanager
def retapped(
    model: TappedModel, examples: Tensor, attack: str, *, width: Width = ANY_WIDTH
) -> Iterator[TappedModel]:
    """Gives a view of a model that is tapped where `layer = "auto"` puts a mark of some width.

    What is trained through the view is trained in the model, once the context ends.

    Args:
        model: Any of our three adapters.
        examples: float32 [batch, ...], on the model's device.
        attack: Name of the attack, for errors.
        width: What the mark needs; see `whitebox.width_needed`.

    Raises:
        CouldNotCheckError: It is no adapter of ours.
        UnmarkableError: The model has no hidden layer, or none is wide enough.
    """
    if isinstance(model, eager.EagerTappedModel):
        choice = eager.choose_tap(model.module, examples, width=width)
        yield eager.EagerTappedModel(model.module, choice.tap).eval()
    elif isinstance(model, exported.ExportedTappedModel):
        program = model.write_back()
        choice = exported.choose_tap(program, width=width)
        view = exported.ExportedTappedModel(program, choice.tap)
        yield view.to(examples.device).eval()
        model.graph_module.load_state_dict(view.graph_module.state_dict())
    elif isinstance(model, OnnxTappedModel):
        own = model.tap
        model.tap = _chosen_tap(model, examples, width)
        try:
            yield model
        finally:
            model.tap = own
    else:
        raise CouldNotCheckError(
            f"attack {attack}: cannot tap a {type(model).__name__} elsewhere",
            advice="attack the model's ONNX file",
        )


def _chosen_tap(model: OnnxTappedModel, examples: Tensor, width: Width) -> str:
    """The same rule for an ONNX file, among the tensors that its layers with a weight read."""
    layers = [layer for layer in Layers(model, examples).layers if layer.hidden]
    reads = [layer.read.detach().flatten() for layer in layers if layer.read is not None]
    with torch.no_grad():
        tensors = {
            name: value
            for name, value in model.tensors(examples).items()
            if value is not None and value.ndim in {2, 3, 4} and len(value) == len(examples)
        }
    candidates = []
    for number, read in enumerate(reads):
        # The last in graph order that holds it: earlier ones may be the same by chance only.
        names = [name for name, value in tensors.items() if torch.equal(value.flatten(), read)]
        if names:
            neurons = neurons_of(tensors[names[-1]].shape)
            candidates.append(Candidate(names[-1], f"layer {number} from the output", neurons))
    if not candidates:
        raise UnmarkableError(
            f"{model.where}: no hidden tensor is read by a layer with float weights",
            advice="mark a model with a hidden layer, or export it with the default exporter",
        )
    return choose(candidates, width).tap
