"""Which schemes there are: our own, and those that other distributions bring.

A plugin's code runs only when a scheme of its name is asked for: a broken plugin cannot keep an
owner from reading a mark of our own schemes.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.plugins import load_plugin, plugin_names
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.cells import Cells
from deepsigns_registry.watermark.scheme import Scheme, SchemeSecret
from deepsigns_registry.watermark.spread import Spread
from deepsigns_registry.watermark.whitebox import WhiteBox

__all__ = [
    "GROUP",
    "builtin_schemes",
    "known_schemes",
    "named_schemes",
    "own_schemes",
    "probe_inputs",
]

GROUP = "deepsigns_registry.schemes"


def builtin_schemes() -> tuple[Scheme, ...]:
    """Those that a mark has by default, in the order in which they are embedded and reported.

    Examples:
        >>> [scheme.name for scheme in builtin_schemes()]
        ['whitebox', 'blackbox', 'spread', 'cells']
    """
    return (WhiteBox(), BlackBox(), Spread(), Cells.where_data_is_plenty())


def own_schemes() -> tuple[Scheme, ...]:
    """Those of this package, as whoever asks for one by name gets it.

    Cells on less data, too, than a mark has them by default.

    Examples:
        >>> [scheme.name for scheme in own_schemes()]
        ['whitebox', 'blackbox', 'spread', 'cells']
    """
    return (WhiteBox(), BlackBox(), Spread(), Cells())


def known_schemes() -> tuple[str, ...]:
    """Names of our own schemes, then of those that installed plugins offer; loads none of them.

    Examples:
        >>> known_schemes()[:4]
        ('whitebox', 'blackbox', 'spread', 'cells')
    """
    ours = [scheme.name for scheme in own_schemes()]
    return tuple(dict.fromkeys([*ours, *plugin_names(GROUP)]))


def named_schemes(names: Iterable[str], schemes: Iterable[Scheme] | None = None) -> list[Scheme]:
    """The schemes of these names, in this order.

    Args:
        names: Such as the keys of a record's secrets.
        schemes: Where to look; by default our own, then those of installed plugins, none of
            which can replace one of ours.

    Raises:
        CouldNotCheckError: There is none of that name, or its plugin is broken.

    Examples:
        >>> [scheme.name for scheme in named_schemes(["spread", "whitebox"])]
        ['spread', 'whitebox']
    """
    known = {scheme.name: scheme for scheme in schemes or own_schemes()}
    return [known[name] if name in known else _plugged(name, schemes) for name in names]


def _plugged(name: str, schemes: Iterable[Scheme] | None) -> Scheme:
    if schemes:
        raise CouldNotCheckError(f"no watermark scheme named '{name}' was given")
    scheme = load_plugin(GROUP, name, Scheme, word="a watermark scheme", error=CouldNotCheckError)
    assert isinstance(scheme, Scheme)  # noqa: S101 - `load_plugin` promises it
    return scheme


def probe_inputs(
    secrets: Mapping[str, SchemeSecret],
    ordinary: NDArray[np.float32],
    schemes: Iterable[Scheme] | None = None,
) -> NDArray[np.float32]:
    """Everything that a suspect is asked by the schemes of these secrets: float32 [n, ...].

    Args:
        secrets: By scheme.
        ordinary: Samples that are asked where none of them asks for answers.
        schemes: See `named_schemes`.

    Raises:
        CouldNotCheckError: See `named_schemes`.
    """
    found = named_schemes(secrets, schemes)
    probes = [scheme.probes(secrets[scheme.name]).inputs for scheme in found]
    asked = [inputs for inputs in probes if len(inputs)]
    return np.concatenate(asked or [ordinary])
