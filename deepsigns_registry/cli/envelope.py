"""The one document that `--json` prints, whatever the command and however it ended."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import click

__all__ = ["echo_json", "envelope"]


def envelope(
    answer: Mapping[str, Any] | None, exit_code: int = 0, error: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The document: an answer, or why there is none.

    Args:
        answer: What the command found; None when it ended in an error.
        exit_code: That it ends with.
        error: `code`, `message` and `advice`.

    Examples:
        >>> envelope({"verdict": "allowed"})
        {'answer': {'verdict': 'allowed'}, 'exit_code': 0, 'error': None}
    """
    return {"answer": _plain(answer), "exit_code": exit_code, "error": error}


def echo_json(
    answer: Mapping[str, Any] | None, exit_code: int = 0, error: Mapping[str, str] | None = None
) -> None:
    """Prints the document on standard output; see `envelope`."""
    click.echo(json.dumps(envelope(answer, exit_code, error), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """The same without numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value
