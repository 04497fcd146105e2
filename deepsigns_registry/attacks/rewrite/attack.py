"""The attack `rewrite:<kind>`: another graph of the same function."""

import numpy as np
from onnx import ModelProto, TensorProto, helper

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.rewrite.bottleneck import Bottleneck
from deepsigns_registry.attacks.rewrite.branches import Branches
from deepsigns_registry.attacks.rewrite.decoy import Decoy
from deepsigns_registry.attacks.rewrite.dummies import Dummies
from deepsigns_registry.attacks.rewrite.inputs import Inverted, Scale
from deepsigns_registry.attacks.rewrite.layout import ChannelsLast, Layout
from deepsigns_registry.attacks.rewrite.normalised import Normalised
from deepsigns_registry.attacks.rewrite.orthogonal import Orthogonal
from deepsigns_registry.attacks.rewrite.outputs import (
    Classes,
    ExtraClass,
    Probabilities,
    Temperature,
)
from deepsigns_registry.attacks.rewrite.rewriting import Interface, Rewriting
from deepsigns_registry.attacks.structure import as_file
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.graph.canonical.reading import read_circuit
from deepsigns_registry.graph.canonical.writing import write_model
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["REWRITINGS", "Rewrite", "rewritten"]

REWRITINGS: tuple[Rewriting, ...] = (
    Orthogonal(),
    Branches(),
    Dummies(),
    Bottleneck(),
    Normalised(),
    Scale(),
    Inverted(),
    Layout(),
    ChannelsLast(),
    Classes(),
    ExtraClass(),
    Probabilities(),
    Temperature(),
    Decoy(),
)
"""Every kind of rewrite; the strength of `rewrite:<kind>` is its place here."""


class Rewrite:
    """Rewrites a file so that it computes the same, with other weights and other names.

    Nothing is trained. Some kinds change what the file is given or what it gives: their
    `interface` says how, and `rewritten` returns it as functions, so that whoever measures can
    ask the file as the thief's callers do. The result is an ONNX file's view, whatever was given;
    its tap is the tensor that had the tap's name, if there still is one, and none otherwise.

    Examples:
        >>> Rewrite().parse("orthogonal")
        0.0
        >>> REWRITINGS[5].interface
        'inputs are multiplied by 255'
    """

    name = "rewrite"

    def parse(self, strength: str) -> float:
        """Reads a kind; its place among all kinds.

        Raises:
            ConfigurationError: There is no such kind.
        """
        for place, kind in enumerate(REWRITINGS):
            if kind.name == strength:
                return float(place)
        names = ", ".join(kind.name for kind in REWRITINGS)
        raise ConfigurationError(
            f"attack {self.name}: '{strength}' is no kind of rewrite",
            advice=f"write {self.name}:KIND; kinds: {names}",
        )

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> OnnxTappedModel:
        """Rewrites a copy; see `Attack.apply`.

        Raises:
            CouldNotCheckError: The model cannot be exported, or has nothing to rewrite so.
        """
        kind = REWRITINGS[int(strength)]
        view = as_file(model, data, self.name)
        row = data.inputs.shape[1:] if len(data.inputs) else None
        changed, tap, _ = rewritten(view.write_back(), kind, seed=seed, row=row, tap=view.tap)
        if progress is not None:
            progress(1.0, kind.interface or "the same inputs and outputs")
        return OnnxTappedModel.from_proto(changed, tap, where=view.where).eval()


def rewritten(
    model: ModelProto,
    kind: Rewriting,
    *,
    seed: int,
    row: tuple[int, ...] | None = None,
    tap: str = "",
) -> tuple[ModelProto, str, Interface]:
    """Rewrites a model, and gives all of its tensors other names.

    Args:
        model: The model; not changed.
        kind: What to do.
        seed: Everything random comes from it.
        row: Shape of one sample, where the caller knows it better than the file says.
        tap: Name of a tensor to follow.

    Returns:
        The rewritten model, the tap's new name (empty when there is no such tensor any more),
        and how the model is asked.

    Raises:
        CouldNotCheckError: It has nothing that can be rewritten so.
    """
    circuit = read_circuit(model, where="attack rewrite", row=row)
    interface = kind.rewrite(circuit, np.random.default_rng(seed))
    changed = write_model(circuit, model)
    if interface.row is not None:
        extents: list[str | int | None] = ["batch", *interface.row]
        given = helper.make_tensor_value_info(circuit.given, TensorProto.FLOAT, extents)
        changed.graph.input[0].CopyFrom(given)
    for entry in changed.graph.output:
        # Declared extents may not be those of what is given now.
        entry.CopyFrom(helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, None))
    return changed, _with_other_names(changed, tap), interface


def _with_other_names(model: ModelProto, tap: str) -> str:
    """Gives every tensor but the ends another name, in place; the tap's new name."""
    graph = model.graph
    names = {entry.name: entry.name for entry in (*graph.input, *graph.output)} | {"": ""}
    for name in (name for node in graph.node for name in (*node.input, *node.output)):
        names.setdefault(name, f"value_{len(names)}")
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.ClearField("name")
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    written = {name for node in graph.node for name in node.output}
    return names[tap] if names.get(tap) in written else ""
