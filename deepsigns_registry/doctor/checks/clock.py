"""Whether this machine and the server agree on the time: leases, schedules and proofs need it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.asking import ask, is_server
from deepsigns_registry.doctor.check import Line

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

# The header has whole seconds, and a busy server takes some.
_ODD, _WRONG = 30.0, 300.0


def check(settings: "Settings") -> Iterator[Line]:
    """Compares the server's Date header with this machine's clock.

    Raises:
        DeepSignsError: The server does not answer.
    """
    if not is_server(settings.tracking_uri):
        yield Line("ok", f"{_said(datetime.now(UTC))}; there is no server to compare it with")
        return
    before = datetime.now(UTC)
    date = ask(settings.tracking_uri, "/health").headers.get("Date", "")
    after = datetime.now(UTC)
    try:
        there = parsedate_to_datetime(date).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        yield Line("unchecked", "the server does not say what time it is", "compare both by hand")
        return
    apart = max((before - there).total_seconds(), (there - after).total_seconds(), 0.0)
    if apart <= _ODD:
        yield Line("ok", f"{_said(after)}, as on the server")
        return
    yield Line(
        "wrong" if apart > _WRONG else "attention",
        f"this machine says {_said(after)} and the server {_said(there)}",
        "let both keep time by NTP; marks and audits are dated by the worker's clock",
    )


def _said(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
