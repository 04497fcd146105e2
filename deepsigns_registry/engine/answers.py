"""Reading what a job sends back, where the job runs code that is not ours.

A pickle can call any function that it names. What a job has to say are numbers, arrays, texts and
our own records and errors: nothing else is named, and of ours only what is no more than its fields.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError

__all__ = ["read_answer"]

_OURS = "deepsigns_registry."
_PLAIN = {
    *(("builtins", name) for name in ("bytearray", "complex", "frozenset", "set", "slice")),
    *(("datetime", name) for name in ("date", "datetime", "timedelta", "timezone")),
    *(("pathlib", name) for name in ("PosixPath", "PurePosixPath", "WindowsPath")),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("types", "MappingProxyType"),
}
_NUMPY = {
    *(("numpy", name) for name in ("ndarray", "dtype")),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("_core", "core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}
_RESTORES_ERRORS = ("deepsigns_registry.errors", "_restore")


def read_answer(content: bytes) -> Any:
    """Reads one answer.

    Args:
        content: As the job pickled it.

    Raises:
        CouldNotCheckError: It names something else, or is no pickle.

    Examples:
        >>> import pickle
        >>> read_answer(pickle.dumps({"accuracy": 0.98}))
        {'accuracy': 0.98}
        >>> read_answer(pickle.dumps(print))
        Traceback (most recent call last):
        deepsigns_registry.errors.CouldNotCheckError: a job answered with 'builtins.print'; ...
    """
    try:
        return _Reader(io.BytesIO(content)).load()
    except CouldNotCheckError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a stranger's bytes make the reader raise
        raise CouldNotCheckError(
            f"a job answered with something that cannot be read ({type(error).__name__})"
        ) from None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """Only what an answer consists of."""
        known = (module, name) in _PLAIN | _NUMPY or (module, name) == _RESTORES_ERRORS
        if known or (module.startswith(_OURS) and "." not in name):
            found: Callable[..., object] = super().find_class(module, name)
            if known or _is_a_record(found):
                return found
        raise CouldNotCheckError(
            f"a job answered with '{module}.{name}'",
            advice="look at the model and its data: what runs there tries to run something here",
        )


def _is_a_record(found: object) -> bool:
    if not isinstance(found, type):
        return False
    named_tuple = issubclass(found, tuple) and hasattr(found, "_fields")
    return is_dataclass(found) or named_tuple or issubclass(found, DeepSignsError | Enum)
