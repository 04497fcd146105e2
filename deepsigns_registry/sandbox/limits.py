"""What a process may use up, as the kernel counts it."""

import sys
from collections.abc import Mapping

__all__ = ["limit"]


def limit(bounds: Mapping[str, int]) -> None:
    """Bounds this process and what it starts; it can never raise them again.

    Args:
        bounds: By the name of the resource in small letters, such as `cpu` (seconds), `as`
            (bytes of addresses) or `fsize` (bytes of each file). What the system does not know
            is left out.
    """
    if sys.platform == "win32":
        return
    import resource

    for name, bound in bounds.items():
        kind = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        most = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (most, most))
