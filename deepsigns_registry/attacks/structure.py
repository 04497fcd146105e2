"""What the attacks on a model's structure share: its groups of channels, changed as one."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.graph.channels import (
    Change,
    Layout,
    channel_layout,
    rewritten,
)
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["as_file", "restructured"]

Plan = Callable[[Layout, np.random.Generator], Mapping[int, Change]]


def restructured(
    model: TappedModel,
    data: LabelledData,
    plan: Plan,
    *,
    attack: str,
    seed: int,
    progress: Progress | None,
) -> OnnxTappedModel:
    """Changes the channels of a model; one that is no ONNX file is exported first.

    Args:
        model: The model; not changed.
        data: Inputs, two or more when the model must be exported.
        plan: Gives the change of each group that it wants to change.
        attack: Name of the attack, for errors.
        seed: Everything random comes from it.
        progress: Called once at the end.

    Returns:
        The changed file's view, in evaluation mode, with the same tap.

    Raises:
        CouldNotCheckError: The model cannot be exported, or has no channels to change.
    """
    view = as_file(model, data, attack)
    layout = channel_layout(view, data.inputs if len(data.inputs) else None)
    random = np.random.default_rng(seed)
    changes = plan(layout, random)
    if not changes:
        raise CouldNotCheckError(
            f"attack {attack}: {view.where}: no channels were found that can be changed",
            advice="attack the float file as it was exported, neither quantised nor optimised",
        )
    changed = OnnxTappedModel.from_proto(
        rewritten(layout, changes, random), view.tap, where=view.where
    )
    if progress is not None:
        channels = sum(layout.groups[number].size for number in changes)
        progress(1.0, f"{channels} channels in {len(changes)} groups")
    return changed.eval()


def as_file(model: TappedModel, data: LabelledData, attack: str) -> OnnxTappedModel:
    """The view of a model's ONNX file, with the same tap; one that has none is exported.

    Args:
        model: The model; not changed. What is a file's view is given as it is.
        data: Inputs, two or more when the model must be exported.
        attack: Name of the attack, for errors.

    Raises:
        CouldNotCheckError: The model cannot be exported.
    """
    if isinstance(model, OnnxTappedModel):
        return model
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            tap = export_onnx(model, data.inputs, path)
        except DeepSignsError as error:
            reason = error.message.replace(f"{path}: ", "")
            raise CouldNotCheckError(
                f"attack {attack}: the model's structure can only be changed as an ONNX file: "
                f"{reason}",
                advice=error.advice,
            ) from error
        return OnnxTappedModel.from_proto(OnnxTappedModel.from_file(path).write_back(), tap)
