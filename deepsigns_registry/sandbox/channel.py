"""What a room and the process in it say to each other: lines of JSON, one at a time."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["first_line", "is_inside", "open_answers", "send", "serve", "tell"]

_LONGEST = 1 << 20
_ANSWERS = "DEEPSIGNS_ROOM_ANSWERS"


def first_line() -> dict[str, Any]:
    """Reads one request, and nothing beyond its line."""
    content = bytearray()
    while not content.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte or len(content) > _LONGEST:
            raise SystemExit(2)
        content += byte
    request: dict[str, Any] = json.loads(content)
    return request


def open_answers() -> int:
    """Keeps the standard output for answers; what is printed from now on goes nowhere."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    os.environ[_ANSWERS] = str(answers)
    return answers


def is_inside() -> bool:
    """Whether this process is in a room already, where no other one can be opened.

    Examples:
        >>> is_inside()
        False
    """
    return _ANSWERS in os.environ


def send(answers: int, content: Mapping[str, object]) -> None:
    """Writes one answer."""
    line = json.dumps(content).encode() + b"\n"
    while line:
        line = line[os.write(answers, line) :]


def tell(message: Mapping[str, object]) -> None:
    """Says something before the answer, such as how far the work is."""
    send(int(os.environ[_ANSWERS]), {"message": message})


def serve(handle: Callable[[dict[str, Any]], Mapping[str, object]]) -> None:
    """Answers every request until the other end is closed.

    Args:
        handle: From a request to its answer; what it raises is answered as `error`.
    """
    answers = int(os.environ[_ANSWERS])
    for line in sys.stdin.buffer:
        try:
            answer = handle(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever it was, the other side gets one line
            answer = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
        send(answers, answer)
