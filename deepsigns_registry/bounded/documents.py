"""JSON and YAML of unknown origin, as plain values that can be written again.

What is refused although Python reads it: NaN and infinities (no JSON, RFC 8259 section 6), numbers
that overflow, whole numbers of hundreds of digits, which overflow wherever they become a float,
lone surrogates, which no UTF-8 can hold, a name twice in one object, and nesting on which whoever
walks the document runs out of stack.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from deepsigns_registry.bounded.unreadable import TooLargeError, UnreadableError

__all__ = ["MOST_BYTES", "MOST_DEPTH", "MOST_DIGITS", "read_json", "read_yaml"]

MOST_BYTES = 16 * 2**20
"""Longest document that is read, unless its reader says otherwise."""

MOST_DEPTH = 64
"""Most lists and objects inside each other."""

MOST_DIGITS = 308
"""Most digits of a whole number: one of more overflows wherever it becomes a float."""

# An anchor can make a few bytes stand for very many. The scanner of YAML is slow in Python.
_MOST_EVENTS = 200_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(content: bytes | str, *, most_bytes: int = MOST_BYTES) -> Any:
    """Reads a JSON document.

    Args:
        content: The document; bytes are UTF-8 and nothing else.
        most_bytes: Its length at most.

    Returns:
        Plain values: None, bool, int, finite float, str, list, dict.

    Raises:
        UnreadableError: It is not JSON, or beyond the bounds.

    Examples:
        >>> read_json(b'{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
    """
    try:
        document = json.loads(
            _text(content, most_bytes),
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except UnreadableError:
        raise
    except (ValueError, RecursionError):
        raise UnreadableError("is not JSON") from None
    _check(document)
    return document


def read_yaml(
    content: bytes | str, *, most_bytes: int = 2**20, most_events: int = _MOST_EVENTS
) -> Any:
    """Reads a YAML document of plain values, without anchors.

    Args:
        content: The document; bytes are UTF-8 and nothing else.
        most_bytes: Its length at most.
        most_events: Its values, and beginnings and ends of lists and mappings, at most.

    Returns:
        Plain values, as `read_json` has them, and dates.

    Raises:
        UnreadableError: It is not YAML, or beyond the bounds.

    Examples:
        >>> read_yaml("flavors: {onnx: {data: model.onnx}}")
        {'flavors': {'onnx': {'data': 'model.onnx'}}}
    """
    import yaml

    text = _text(content, most_bytes)
    # The reader in C is much faster; where it is not built, Python's own does the same.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(text, Loader=loader), most_events)
        document = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader, see above
    except UnreadableError:
        raise
    # A date that is none, a number of ten thousand digits, a key that is a list, a tag misused.
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        raise UnreadableError("is not YAML") from None
    except RecursionError:
        raise UnreadableError("is nested too deep") from None
    _check(document)
    return document


def _check_events(events: Iterable[Any], most: int) -> None:
    import yaml

    depth = 0
    for number, event in enumerate(events):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH or number > most or isinstance(event, yaml.AliasEvent):
            raise UnreadableError("is YAML with anchors, or of too many or too deep parts")


def _text(content: bytes | str, most_bytes: int) -> str:
    if len(content) > most_bytes:
        raise TooLargeError(f"is longer than {most_bytes} bytes")
    if isinstance(content, str):
        return content
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8") from None


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise UnreadableError(f"holds a whole number of more than {MOST_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableError("holds a number that is not finite")
    return value


def _constant(_text: str) -> NoReturn:
    raise UnreadableError("holds a number that is not finite")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableError("names something twice in one object")
    return found


def _check(document: object) -> None:
    """Goes through a whole document level by level, so that its depth costs no stack."""
    level, depth = [document], 0
    while level:
        depth += 1
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner += value
                inner += value.values()
            elif isinstance(value, (list, tuple, set)):
                inner += value
            else:
                _check_plain(value)
        if depth > MOST_DEPTH and any(isinstance(each, (dict, list, tuple, set)) for each in level):
            raise UnreadableError(f"is nested deeper than {MOST_DEPTH}")
        level = inner


def _check_plain(value: object) -> None:
    if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        raise UnreadableError("holds half a character")
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        raise UnreadableError(f"holds a whole number of more than {MOST_DIGITS} digits")
    if isinstance(value, float) and not math.isfinite(value):
        raise UnreadableError("holds a number that is not finite")
