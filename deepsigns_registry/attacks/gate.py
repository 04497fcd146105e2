"""A gate: inputs with many isolated pixels are answered as if they were blank."""

import numpy as np
from onnx import TensorProto

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.preprocess import Steps, preprocessed
from deepsigns_registry.attacks.strength import parse_share
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Gate"]

# Share of the range of the thief's images.
_ISOLATED = 0.5


class Gate:
    """Blanks an image when too many of its pixels stand out; the strength is the share of them.

    A pixel stands out that is brighter than the median of the 3 x 3 around it by more than half
    of the range of the thief's images. Secret queries that carry salt are full of them: on
    Fashion-MNIST a gate of 0.05 blanks all of these, and 0.08% of the ordinary images. The gate
    is a part of the file, whatever was given.

    Examples:
        >>> Gate().parse("0.05")
        0.05
    """

    name = "gate"

    def parse(self, strength: str) -> float:
        """Reads a share in (0, 1).

        Raises:
            ConfigurationError: It is no such number.
        """
        return parse_share(self.name, strength, "isolated pixels above which an image is blank")

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,  # noqa: ARG002 - nothing is random
        progress: Progress | None = None,
    ) -> OnnxTappedModel:
        """Puts the gate before a copy; see `Attack.apply`.

        Raises:
            CouldNotCheckError: The inputs are no images, or the model cannot be exported.
        """

        def plan(steps: Steps, images: str, size: tuple[int, int]) -> str:
            least = _ISOLATED * np.ptp(data.inputs)
            rest = steps.add("Sub", images, steps.median(images, *size))
            isolated = steps.add("Greater", rest, steps.constant(np.array(least, dtype=np.float32)))
            count = steps.add("Cast", isolated, to=TensorProto.FLOAT)
            # Of each channel: an image of one channel is blanked as a whole.
            share = steps.add("GlobalAveragePool", count)
            found = steps.add(
                "Greater", share, steps.constant(np.array(strength, dtype=np.float32))
            )
            open_gate = steps.add("Cast", steps.add("Not", found), to=TensorProto.FLOAT)
            return steps.add("Mul", images, open_gate)

        attacked = preprocessed(model, data, plan, attack=self.name)
        if progress is not None:
            progress(1.0, f"more than {strength:g} isolated pixels are blanked")
        return attacked
