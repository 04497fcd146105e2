"""Which schemes there are: our own, and those that other distributions bring.

A plugin's code runs only when a scheme of its name is asked for: a broken plugin cannot keep an
owner from reading a mark of our own schemes.
"""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.whitebox import WhiteBox

__all__ = ["GROUP", "builtin_schemes", "known_schemes", "named_schemes"]

GROUP = "deepsigns_registry.schemes"


def builtin_schemes() -> tuple[Scheme, ...]:
    """White box and black box, in the order in which they are embedded and reported."""
    return (WhiteBox(), BlackBox())


def known_schemes() -> tuple[str, ...]:
    """Names of our own schemes, then of those that installed plugins offer; loads none of them.

    Examples:
        >>> known_schemes()[:2]
        ('whitebox', 'blackbox')
    """
    ours = [scheme.name for scheme in builtin_schemes()]
    return tuple(dict.fromkeys([*ours, *sorted(entry_points(group=GROUP).names)]))


def named_schemes(names: Iterable[str], schemes: Iterable[Scheme] | None = None) -> list[Scheme]:
    """The schemes of these names, in this order.

    Args:
        names: Such as the keys of a record's secrets.
        schemes: Where to look; by default our own, then those of installed plugins, none of
            which can replace one of ours.

    Raises:
        CouldNotCheckError: There is none of that name, or its plugin is broken.
    """
    known = {scheme.name: scheme for scheme in schemes or builtin_schemes()}
    return [known[name] if name in known else _plugged(name, schemes) for name in names]


def _plugged(name: str, schemes: Iterable[Scheme] | None) -> Scheme:
    points = [] if schemes else list(entry_points(group=GROUP, name=name))
    if not points:
        raise CouldNotCheckError(
            f"no watermark scheme named '{name}'",
            advice="install the plugin that brings it",
        )
    if len(points) > 1:
        offered = ", ".join(sorted(point.value for point in points))
        raise CouldNotCheckError(
            f"more than one plugin brings a watermark scheme named '{name}': {offered}",
            advice="uninstall all but the one that embedded the mark",
        )
    return _load(points[0])


def _load(point: EntryPoint) -> Scheme:
    try:
        scheme = point.load()()
    except Exception as error:  # a plugin's import or constructor may raise anything
        raise CouldNotCheckError(
            f"scheme plugin '{point.value}' cannot be loaded: {error}",
            advice="upgrade or uninstall its distribution",
        ) from error
    if not isinstance(scheme, Scheme) or scheme.name != point.name:
        raise CouldNotCheckError(
            f"scheme plugin '{point.value}' is no scheme named '{point.name}'",
            advice="see deepsigns_registry.watermark.scheme.Scheme",
        )
    return scheme
