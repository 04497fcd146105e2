"""Overwriting with all that the method can do: more carriers, more bits, a larger margin."""

from deepsigns_registry.attacks.attack import Progress
from deepsigns_registry.attacks.overwrite import Overwrite
from deepsigns_registry.attacks.strength import parse_count
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel

__all__ = ["STRONG", "OverwriteStrong"]

_MOST = 10
# The seed of each next key, far from those that anybody counts.
_NEXT = 1_000_003

STRONG = MarkSettings(bits=1280, carriers=10, margin=10.0)
"""What the thief marks with."""


class OverwriteStrong:
    """Embedding of marks of 1,280 bits on ten carriers; the strength is how many, one by one.

    Each has a key of its own, and its signature is shortened for a layer too narrow for it, as in
    `Overwrite`.

    Args:
        settings: Of each embedding.

    Examples:
        >>> OverwriteStrong().parse("2")
        2.0
    """

    name = "overwrite_strong"

    def __init__(self, *, settings: MarkSettings = STRONG) -> None:
        self._settings = settings
        self._once = Overwrite(settings=settings)

    def parse(self, strength: str) -> float:
        """Reads a number of marks.

        Raises:
            ConfigurationError: It is no whole number from 1 to 10.
        """
        return parse_count(self.name, strength, "marks", _MOST)

    def apply(
        self,
        model: TappedModel,
        strength: float,
        data: LabelledData,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> TappedModel:
        """Marks a copy again and again; see `Overwrite.apply`.

        Raises:
            DataError: The data is not what the model was made for, or too little.
            CouldNotCheckError: The model cannot carry another mark.
        """
        attacked, count = model, int(strength)
        for turn in range(count):
            attacked = self._once.apply(
                attacked,
                self._settings.epochs,
                data,
                seed=seed + _NEXT * turn,
                progress=None if progress is None else _turn(progress, turn, count),
            )
        return attacked


def _turn(progress: Progress, turn: int, count: int) -> Progress:
    return lambda share, words: progress((turn + share) / count, words)
