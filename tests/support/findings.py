"""Answers of the gate, and names that were chosen to break what tells them."""

from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    DeepSignsError,
    QueuedError,
    RefusedError,
    TamperedError,
)

__all__ = ["ERRORS", "HOSTILE", "allowed", "failed"]

HOSTILE = (
    "fraud\n::set-output name=answer::allowed",
    "fraud%0A::error::x",
    "##[set-output name=answer;]allowed",
    "</testcase><testcase name='x'/><!--",
    "]]>&lt;&amp;\"'",
    "a | b | `c` ``d``",
    "`",
    " `` ",
    "[x](javascript:alert(1)) ![y](//z) @everyone <img src=x onerror=alert(1)>",
    "{0} {{1}} [link](1) \\",
    "[[ATTACHMENT|/etc/passwd]]",
    "\x00\x1b[2J\x1b]8;;http://x\x07\u202e\u2028\ud800\ufffe\x7f",
    "\r\r\n\t",
    "übermäßig 模型 🦊",
)
"""Names that end a line, a tag, a span or a column of somebody's format."""

ERRORS: tuple[type[DeepSignsError], ...] = (
    RefusedError,
    QueuedError,
    ConfigurationError,
    CouldNotCheckError,
    TamperedError,
)


def allowed(name: str) -> Finding:
    """A yes in which everything that can be hostile is."""
    return Finding(
        name,
        facts={"owner": "f8" * 32, "marked": f"2026-11-26 09:01:39 UTC, from {name}/1"},
        ignored={name: name},
        answer={"uri": name},
    )


def failed(name: str, kind: type[DeepSignsError]) -> Finding:
    """Another answer in which everything that can be hostile is."""
    return Finding.of_error(name, kind(f"{name} was looked at", advice=f"look at {name}"))
