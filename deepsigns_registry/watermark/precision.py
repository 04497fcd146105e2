"""How a fine-tuning computes: in which precision, and in which layout of images."""

import torch
from torch import Tensor

from deepsigns_registry.watermark.settings import Precision
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["autocast", "lay_out", "layout_for"]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context of a forward pass; the weights themselves stay in float32.

    Args:
        precision: `auto` is bfloat16 on CUDA hardware that computes with it, float32 elsewhere.
        device: Where the pass runs.

    Examples:
        >>> with autocast("bfloat16", torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    lowered = precision == "bfloat16" or (
        precision == "auto"
        and device.type == "cuda"
        and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=lowered)


def layout_for(model: TappedModel, sample: Tensor) -> torch.memory_format:
    """Channels last where the model convolves images and accepts them so, else contiguous.

    Args:
        model: On the sample's device; it is left contiguous.
        sample: A small batch [batch, ...]; it is only run when it holds images.
    """
    if sample.ndim != 4 or all(weight.ndim != 4 for weight in model.parameters()):
        return torch.contiguous_format
    lay_out(model, torch.channels_last)
    try:
        with torch.no_grad():
            model(sample.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        # A graph that views a feature map as a vector needs it contiguous.
        return torch.contiguous_format
    finally:
        lay_out(model, torch.contiguous_format)
    return torch.channels_last


def lay_out(model: TappedModel, layout: torch.memory_format) -> None:
    """Stores the kernels of convolutions in a layout; their values stay."""
    for weight in (*model.parameters(), *model.buffers()):
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=layout)
