"""Noise: a random number is added to every weight."""

import copy

import torch

from deepsigns_registry.attacks.attack import Progress, parse_number
from deepsigns_registry.attacks.training import trainable
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Noise"]

_ADVICE = "write the noise relative to the weights' own deviation, above 0, such as noise:0.1"
_MOST = 100.0


class Noise:
    """Gaussian noise on every parameter, biases and gains included.

    The strength is the noise's standard deviation, relative to that of the values of the
    parameter that it is added to.

    Examples:
        >>> Noise().parse("0.1")
        0.1
    """

    name = "noise"

    def parse(self, strength: str) -> float:
        """Reads a deviation in (0, 100].

        Raises:
            ConfigurationError: It is no such number.
        """
        sigma = parse_number(self.name, strength, _ADVICE)
        if not 0 < sigma <= _MOST:
            raise ConfigurationError(
                f"attack {self.name}: strength {strength} is not between 0 and {_MOST:g}",
                advice=_ADVICE,
            )
        return sigma

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,  # noqa: ARG002 - needs none
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Adds noise to a copy; see `Attack.apply`."""
        attacked = copy.deepcopy(model).eval()
        parameters = trainable(attacked, self.name)
        # On the processor, so that the noise does not depend on the device.
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in parameters:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(noise * parameter.std(correction=0), alpha=strength)
        if progress is not None:
            progress(1.0, f"noise on {len(parameters)} parameters")
        return attacked
