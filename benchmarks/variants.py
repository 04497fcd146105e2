"""Other ways to mark, each compared with the default by what it costs and what it withstands."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.whitebox import WhiteBox

__all__ = ["VARIANTS", "Variant"]


def _unchanged(settings: MarkSettings) -> MarkSettings:
    return settings


@dataclass(frozen=True)
class Variant:
    """A way to mark.

    Attributes:
        name: In results.
        change: From the default settings to its own.
        schemes: Which schemes are embedded.
    """

    name: str
    change: Callable[[MarkSettings], MarkSettings] = _unchanged
    schemes: Callable[[], tuple[Scheme, ...]] = lambda: (WhiteBox(), BlackBox())


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("default: both marks jointly"),
        Variant("black box alone, after training", schemes=lambda: (BlackBox(),)),
        Variant("white box alone", schemes=lambda: (WhiteBox(),)),
        Variant("margin halved", lambda given: replace(given, margin=given.margin / 2)),
        Variant("margin doubled", lambda given: replace(given, margin=given.margin * 2)),
        Variant(
            "learning rate halved",
            lambda given: replace(given, learning_rate=given.learning_rate / 2),
        ),
    )
}
"""By name. All are measured on the perceptron: cost, and the marks after the same attacks."""
