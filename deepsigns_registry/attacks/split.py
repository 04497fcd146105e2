"""Split and dummy neurons: the same function with more channels, so that no shape fits."""

import numpy as np

from deepsigns_registry.attacks.attack import Progress, parse_number
from deepsigns_registry.attacks.structure import restructured
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.graph.channels import Change, Freedom, Layout
from deepsigns_registry.graph.interpreter import OnnxTappedModel
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["Split"]

_ADVICE = "write the share of the channels to split, above 0 and at most 1, such as split:0.25"
_WIDENING = Freedom.DUPLICATE | Freedom.RESIZE


class Split:
    """Splits channels in two and adds dummies; the strength is the share of each, of a layer.

    Of a split channel both copies compute the same, and what reads it is shared between them
    in random proportions. Dummies have random incoming weights; in turn two of them compute the
    same and are read with opposite signs, and one is not read. Then all channels are permuted.
    Where channels cannot be added (layer normalisation takes their mean), they stay as they are.
    The result is an ONNX file's view, whatever was given.

    Structural obfuscation after Yan et al., "Rethinking White-Box Watermarks on Deep Learning
    Models under Neural Structural Obfuscation", USENIX Security 2023 (arXiv 2303.09732).

    Examples:
        >>> Split().parse("0.25")
        0.25
    """

    name = "split"

    def parse(self, strength: str) -> float:
        """Reads a share in (0, 1].

        Raises:
            ConfigurationError: It is no such number.
        """
        share = parse_number(self.name, strength, _ADVICE)
        if not 0 < share <= 1:
            raise ConfigurationError(
                f"attack {self.name}: strength {strength} is not above 0 and at most 1",
                advice=_ADVICE,
            )
        return share

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> OnnxTappedModel:
        """Widens a copy; see `Attack.apply`.

        Raises:
            CouldNotCheckError: The model cannot be exported, or has no channels to split.
        """

        def plan(layout: Layout, random: np.random.Generator) -> dict[int, Change]:
            return {
                group.number: _widened(group.size, strength, random)
                for group in layout.groups.values()
                if _WIDENING in group.freedom
            }

        return restructured(model, data, plan, attack=self.name, seed=seed, progress=progress)


def _widened(size: int, share: float, random: np.random.Generator) -> Change:
    count = max(1, round(share * size))
    halved = random.choice(size, count, replace=False)
    first = random.uniform(0.1, 0.9, count)
    own = np.ones(size)
    own[halved] = first
    pairs = count // 3
    number = np.concatenate([np.repeat(np.arange(pairs), 2), np.arange(pairs, count - pairs)])
    read = random.normal(0, 1, pairs)
    added = np.concatenate([np.stack([read, -read], axis=1).ravel(), np.zeros(count - 2 * pairs)])
    # What has no random weights (slopes, statistics) a dummy takes from some channel.
    taken = random.choice(size, count)[number]
    order = random.permutation(size + 2 * count)
    return Change.of(
        np.concatenate([np.arange(size), halved, taken])[order],
        share=np.concatenate([own, 1 - first, added])[order],
        dummy=np.concatenate([np.full(size + count, -1), number])[order],
    )
