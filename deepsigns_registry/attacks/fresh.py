"""Drawing the parameters of a model anew, for every adapter."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from deepsigns_registry.attacks.layers import Layers

__all__ = ["draw_anew", "reset_statistics"]

# What transformers draw positions and class tokens with (Devlin et al. 2019).
_EMBEDDING_DEVIATION = 0.02


def draw_anew(parameters: Iterable[nn.Parameter], layers: Layers, *, seed: int) -> None:
    """Draws parameters in place, without regard to what they hold.

    A layer's weight is normal with variance 2 / fan-in (He et al. 2015, equation 10); a bias
    is 0. Gains, which a norm starts at 1 and a PReLU at 0.25, are all set to their mean in the
    given model, since a graph does not always tell which is which. What else has two
    dimensions is an embedding, normal with deviation 0.02. A single value stays: exporters
    keep the constants of formulas that way.

    Args:
        parameters: Which to draw.
        layers: Of the model that they belong to.
        seed: Of the draw; the values do not depend on the device.
    """
    generator = torch.Generator().manual_seed(seed)
    fans = {id(weight): layer.fan_in for layer in layers.layers for weight in layer.parameters}
    gains = {id(gain) for gain in layers.gains}
    with torch.no_grad():
        for parameter in parameters:
            if parameter.numel() == 1:
                continue
            if id(parameter) in gains:
                parameter.fill_(parameter.mean().item())
                continue
            fan_in = fans.get(id(parameter)) if parameter.ndim > 1 else None
            deviation = math.sqrt(2 / fan_in) if fan_in else _EMBEDDING_DEVIATION
            if fan_in is None and sum(extent > 1 for extent in parameter.shape) < 2:
                deviation = 0
            parameter.copy_(_normal(parameter, generator) * deviation)


def reset_statistics(layers: Layers) -> None:
    """Sets the running statistics of batch normalisation to those of an unused model."""
    with torch.no_grad():
        for mean, variance in layers.statistics:
            mean.zero_()
            variance.fill_(1)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like.device, like.dtype)
