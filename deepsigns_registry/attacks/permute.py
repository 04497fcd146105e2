"""Permutation and scaling: the same function with its channels in another order and unit."""

import numpy as np

from deepsigns_registry.attacks.attack import Progress, parse_number
from deepsigns_registry.attacks.structure import restructured
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.graph.channels import Change, Freedom, Layout
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Permute"]

_ADVICE = "write the spread of the factors, 0 (none) to 3, such as permute:0.5"
_MOST = 3.0


class Permute:
    """Random order of the channels of every hidden layer, and positive factors on them.

    The strength is the standard deviation of the factors' natural logarithm. What reads a
    channel is divided by its factor, so that the function stays the same; where an activation
    function does not let a factor pass (sigmoid, GELU, layer normalisation), the channels are
    only permuted. The result is an ONNX file's view, whatever was given.

    Examples:
        >>> Permute().parse("0.5")
        0.5
    """

    name = "permute"

    def parse(self, strength: str) -> float:
        """Reads the spread of the factors, 0 to 3.

        Raises:
            ConfigurationError: It is no such number.
        """
        spread = parse_number(self.name, strength, _ADVICE)
        if not 0 <= spread <= _MOST:
            raise ConfigurationError(
                f"attack {self.name}: strength {strength} is not between 0 and 3", advice=_ADVICE
            )
        return spread

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> OnnxTappedModel:
        """Permutes and scales a copy; see `Attack.apply`.

        Raises:
            CouldNotCheckError: The model cannot be exported, or has no channels to permute.
        """

        def plan(layout: Layout, random: np.random.Generator) -> dict[int, Change]:
            return {
                group.number: _permuted(
                    group.size, strength if Freedom.SCALE in group.freedom else 0.0, random
                )
                for group in layout.groups.values()
            }

        return restructured(model, data, plan, attack=self.name, seed=seed, progress=progress)


def _permuted(size: int, spread: float, random: np.random.Generator) -> Change:
    gain = np.exp(spread * random.standard_normal(size))
    return Change.of(random.permutation(size), gain=gain, share=1 / gain)
