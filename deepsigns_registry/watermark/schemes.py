"""The schemes that this package brings."""

from collections.abc import Iterable

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.whitebox import WhiteBox

__all__ = ["builtin_schemes", "named_schemes"]


def builtin_schemes() -> tuple[Scheme, ...]:
    """White box and black box, in the order in which they are embedded and reported."""
    return (WhiteBox(), BlackBox())


def named_schemes(names: Iterable[str], schemes: Iterable[Scheme] | None = None) -> list[Scheme]:
    """The schemes of these names, in this order.

    Args:
        names: Such as the keys of a record's secrets.
        schemes: Where to look; the built-in ones by default.

    Raises:
        CouldNotCheckError: There is none of that name.
    """
    known = {scheme.name: scheme for scheme in schemes or builtin_schemes()}
    missing = [name for name in names if name not in known]
    if missing:
        raise CouldNotCheckError(
            f"no watermark scheme named '{missing[0]}'",
            advice="install the plugin that embedded this mark",
        )
    return [known[name] for name in names]
