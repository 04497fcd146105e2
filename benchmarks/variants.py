"""Other ways to mark, each compared with the default by what it costs and what it withstands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from deepsigns_registry.watermark.queries import FAMILIES
from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """A way to mark.

    Attributes:
        name: In results.
        settings: From the default settings to its own.
        schemes: Names of the schemes that are embedded.
    """

    name: str
    settings: Callable[[MarkSettings], MarkSettings]
    schemes: tuple[str, ...] = ("whitebox", "blackbox")


def _with(name: str, **changed: Any) -> Variant:
    return Variant(name, lambda given: replace(given, **changed))


def _variants() -> Iterator[Variant]:
    yield _with("default: both marks jointly")
    # As in the paper: the output layer is marked after the training, by itself.
    yield Variant("black box alone", lambda given: given, ("blackbox",))
    yield Variant("white box alone", lambda given: given, ("whitebox",))
    yield Variant("mark of Uchida et al. alone", lambda given: given, ("uchida",))
    for family in FAMILIES:
        yield _with(f"queries: {family}", query_family=family)
    yield _with("query margin 5 instead of cross-entropy", query_margin=5.0)
    yield Variant("margin halved", lambda given: replace(given, margin=given.margin / 2))
    yield Variant("margin doubled", lambda given: replace(given, margin=given.margin * 2))
    yield _with("pruning masks up to 0.9", pruning_masks=0.9)
    yield _with("weight noise 0.3", weight_noise=0.3)
    yield _with("pruning masks and weight noise", pruning_masks=0.9, weight_noise=0.3)


VARIANTS = {variant.name: variant for variant in _variants()}
"""By name. All are measured on the perceptron: cost, and the marks after the same attacks."""
