"""Whether promotion requests wait that nobody works on."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.check import Line
from deepsigns_registry.naming import command, version_name
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.requests import lease_of, pending_requests

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

_MOST = 20
_LONG = 15 * 60.0


def check(settings: "Settings") -> Iterator[Line]:
    """Reads the queue, and who holds the oldest requests in it.

    Raises:
        DeepSignsError: The registry does not answer.
    """
    client = make_client(settings.tracking_uri)
    waiting = pending_requests(client)
    if not waiting:
        yield Line("ok", "no promotion request waits")
        return
    now = datetime.now(UTC).timestamp() * 1000
    held = 0
    for request in waiting[:_MOST]:
        lease = lease_of(client, request.model, request.version)
        if lease is not None and lease.expires_at > now:
            held += 1
            continue
        minutes = (now - request.requested_at) / 60_000
        if minutes * 60 < _LONG:
            continue
        last = "nobody has taken it" if lease is None else "the worker that had it gave no sign"
        label = version_name(request.model, request.version)
        yield Line(
            "attention",
            f"{label} waits for {minutes:,.0f} minutes, and {last}",
            f"start deepsigns worker, or see: {command('deepsigns', 'status', label)}",
        )
    yield Line("ok", f"{len(waiting)} promotion requests wait, {held} of them in work")
