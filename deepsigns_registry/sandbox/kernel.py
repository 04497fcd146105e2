"""Calls of the Linux kernel that Python has no function for."""

import ctypes
import os
from collections.abc import Callable

__all__ = ["call"]


def call(name: str, *arguments: object) -> int:
    """Calls a function of the C library that gives -1 when it fails.

    Args:
        name: Of the function, such as `prctl`.
        arguments: Of types that ctypes takes.

    Raises:
        OSError: It failed, or there is no such function.
    """
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, TypeError):
        raise OSError(f"this system has no {name}") from None
    result = found(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
