"""What a scheme is given and gives back, as lines of JSON and files of arrays.

Both sides read with the same few kinds, so that nothing of the other side is ever run.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepsigns_registry.bounded.arrays import read_array
from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.watermark.evidence import Correlation, Matches, SignSum
from deepsigns_registry.watermark.interface import Ordinary
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import Answers, Matrix, Probes, SchemeSecret
from deepsigns_registry.watermark.tap import TapAgreement

__all__ = ["read_value", "written_value"]

Check = Callable[[Any], bool]


def _of(*kinds: type) -> Check:
    return lambda value: type(value) in kinds


def _array(kind: type[np.generic], rank: int) -> Check:
    """An array of this type, and of this rank at least."""
    return lambda value: (
        isinstance(value, np.ndarray) and value.dtype == kind and value.ndim >= rank
    )


def _each(check: Check) -> Check:
    return lambda values: type(values) is tuple and all(map(check, values))


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


_WHOLE, _NUMBER, _TEXT = _of(int), _of(int, float), _of(str)
_ROWS = _array(np.float32, 1)
_EVIDENCE = {"scheme": _TEXT, "trials": _WHOLE, "level": _TEXT}

# What may cross, and of what its fields are.
_FIELDS: Mapping[type, Mapping[str, Check]] = {
    Answers: {
        "outputs": _ROWS,
        "activation": _or_none(_ROWS),
        "weight": _or_none(_ROWS),
        "matrices": _each(_or_none(_ROWS)),
    },
    Correlation: {**_EVIDENCE, "deviations": _NUMBER, "parts": _WHOLE},
    Manifest: {"digests": _array(np.uint8, 2), "labels": _array(np.int64, 1)},
    Matches: {**_EVIDENCE, "matches": _WHOLE, "chance": _NUMBER},
    Matrix: {
        "name": _TEXT,
        "layer": _WHOLE,
        "rows": _WHOLE,
        "columns": _WHOLE,
        "transposed": _of(bool),
    },
    Ordinary: {"inputs": _ROWS, "outputs": _ROWS},
    Probes: {
        "inputs": _ROWS,
        "matrices": _each(_of(Matrix)),
        "signs": _each(_array(np.int8, 1)),
        "blueprint": _of(bytes),
    },
    SchemeSecret: {
        "scheme": _TEXT,
        "meta": _of(dict),
        "arrays": lambda value: (
            type(value) is dict and all(isinstance(array, np.ndarray) for array in value.values())
        ),
    },
    SignSum: {**_EVIDENCE, "matches": _WHOLE, "bound": _NUMBER},
    TapAgreement: {"correlation": _NUMBER, "verified": _of(bool)},
}
_KINDS = {kind.__name__: kind for kind in _FIELDS}
_PLAIN = (bool, int, float, str, type(None))


def written_value(value: object, folder: Path, name: str) -> object:
    """A value as JSON; its arrays are written into files beside it.

    Args:
        value: Plain values, bytes, arrays, tuples, lists, mappings and the kinds of the schemes.
        folder: Where the files go.
        name: What their names begin with.

    Raises:
        TypeError: It holds something else.

    Examples:
        >>> written_value({"key": b"ab", "sizes": (1, 2)}, Path("unused"), "secret")
        {'map': {'key': {'bytes': '6162'}, 'sizes': {'tuple': [1, 2]}}}
    """
    files = iter(range(1 << 20))

    def written(part: object) -> object:
        if isinstance(part, np.generic):
            part = part.item()
        if isinstance(part, _PLAIN):
            return part
        if isinstance(part, bytes):
            return {"bytes": part.hex()}
        if isinstance(part, np.ndarray):
            file = f"{name}-{next(files)}.npy"
            np.save(folder / file, part, allow_pickle=False)
            return {"array": file}
        if type(part) in _FIELDS:
            fields = {field: written(getattr(part, field)) for field in _FIELDS[type(part)]}
            return {"kind": type(part).__name__, "fields": fields}
        if isinstance(part, Mapping):
            return {"map": {str(key): written(entry) for key, entry in part.items()}}
        if isinstance(part, tuple | list):
            return {type(part).__name__: [written(entry) for entry in part]}
        raise TypeError(f"a {type(part).__name__} is nothing that a scheme gives or is given")

    return written(value)


def read_value(value: object, folder: Path, *, most_bytes: int) -> Any:
    """Reads what `written_value` wrote, of unknown origin.

    Args:
        value: The JSON.
        folder: Where the files of its arrays are.
        most_bytes: Of each of them.

    Returns:
        A value of one of the kinds, its fields of the types that they should be.

    Raises:
        KeyError, OSError, TypeError, ValueError: It is something else.
        TamperedError: A manifest whose parts do not fit together.

    Examples:
        >>> read_value({"tuple": [1, {"bytes": "6162"}]}, Path("unused"), most_bytes=100)
        (1, b'ab')
    """

    def read(part: object) -> Any:
        return read_value(part, folder, most_bytes=most_bytes)

    found: Any
    match value:
        case bool() | int() | float() | str() | None:
            found = value
        case {"bytes": str(text)}:
            found = bytes.fromhex(text)
        case {"array": str(file)} if Path(file).name == file:
            content = read_regular(folder / file, most_bytes=most_bytes, follow=False)
            found = read_array(content)
        case {"kind": str(name), "fields": dict(fields)}:
            found = _made(_KINDS[name], {field: read(part) for field, part in fields.items()})
        case {"map": dict(entries)}:
            found = {key: read(entry) for key, entry in entries.items()}
        case {"tuple": list(entries)}:
            found = tuple(map(read, entries))
        case {"list": list(entries)}:
            found = list(map(read, entries))
        case _:
            raise ValueError("no value")
    return found


def _made(kind: type, fields: Mapping[str, object]) -> object:
    checks = _FIELDS[kind]
    if fields.keys() != checks.keys():
        raise ValueError(f"a {kind.__name__} has other fields")
    wrong = [name for name, check in checks.items() if not check(fields[name])]
    if wrong:
        raise TypeError(f"'{wrong[0]}' of a {kind.__name__} is of another type")
    return kind(**fields)
