"""What the settings of one model mean to the method, and where it runs."""

import os
from dataclasses import fields
from typing import TYPE_CHECKING

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.retraining.source import output_width
from deepsigns_registry.sections import ModelSettings

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from deepsigns_registry.watermark.adapters.choice import TapChoice
    from deepsigns_registry.watermark.plan import Goal
    from deepsigns_registry.watermark.scheme import Scheme
    from deepsigns_registry.watermark.settings import MarkSettings

__all__ = [
    "chosen_schemes",
    "device_name",
    "goal_of",
    "mark_settings",
    "tap_choices",
    "training_device",
]


def mark_settings(model: ModelSettings) -> "MarkSettings":
    """The part of `[models.<name>]` that the method needs.

    Examples:
        >>> mark_settings(ModelSettings(data="training.npz", queries=200)).queries
        200
    """
    from deepsigns_registry.watermark.settings import MarkSettings

    shared = {field.name for field in fields(MarkSettings)} & set(ModelSettings.model_fields)
    return MarkSettings(**{name: getattr(model, name) for name in shared})


def chosen_schemes(model: ModelSettings) -> "list[Scheme] | None":
    """The schemes of `[models.<name>]`; None for our own, as far as they suit the model.

    Raises:
        ConfigurationError: A scheme is not installed, or cannot be read without another.
        CouldNotCheckError: The plugin of a scheme is broken.

    Examples:
        >>> chosen = chosen_schemes(ModelSettings(data="training.npz", schemes=["blackbox"]))
        >>> [scheme.name for scheme in chosen]
        ['blackbox']
        >>> chosen_schemes(ModelSettings(data="training.npz")) is None
        True
    """
    from deepsigns_registry.watermark.schemes import known_schemes, named_schemes
    from deepsigns_registry.watermark.spread import Spread
    from deepsigns_registry.watermark.whitebox import WhiteBox
    from deepsigns_registry.watermark.witness import KnowsTap

    if model.stealth:
        return [Spread()]
    if model.schemes is None:
        return None
    known = known_schemes()
    missing = [name for name in model.schemes if name not in known]
    if missing:
        raise ConfigurationError(
            f"no watermark scheme named '{missing[0]}'",
            advice=f"install its plugin, or choose among: {', '.join(known)}",
        )
    chosen = named_schemes(model.schemes)
    hidden = [scheme.name for scheme in chosen if scheme.needs_activation]
    if hidden and not any(isinstance(scheme, KnowsTap) for scheme in chosen):
        raise ConfigurationError(
            f"scheme '{hidden[0]}' reads a tap that only scheme '{WhiteBox.name}' can verify",
            advice=f"add '{WhiteBox.name}' to schemes",
        )
    return chosen


def training_device() -> "torch.device":
    """CUDA when there is one, else the processor with every core it may use."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return torch.device("cpu")


def device_name(device: "torch.device") -> str:
    """What a device is called in reports.

    Examples:
        >>> import torch
        >>> device_name(torch.device("cpu"))
        'cpu'
    """
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def goal_of(model: ModelSettings) -> "Goal":
    """What `[models.<name>]` wants of a marking.

    Examples:
        >>> goal_of(ModelSettings(data="training.npz", max_accuracy_drop=0.02)).max_drop
        0.02
    """
    from deepsigns_registry.watermark.plan import Goal

    return Goal(
        max_drop=model.max_accuracy_drop,
        max_changed=model.max_changed_answers,
        rounds=model.rounds,
    )


def tap_choices(program: "ExportedProgram", model: ModelSettings) -> "tuple[TapChoice, ...]":
    """The hidden activations that could carry the mark, in the order in which they are tried.

    Raises:
        UnmarkableError: There is none.
    """
    from deepsigns_registry.watermark.adapters.exported import tap_candidates
    from deepsigns_registry.watermark.whitebox import width_needed

    classes = output_width(program, model.task) if model.task == "classification" else 1
    width = width_needed(mark_settings(model), classes)
    return tap_candidates(program, model.layer, width=width)
