"""Follows promotion requests until they end."""

import time
from collections.abc import Callable, Iterator, Sequence

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.registry.protocol import PromotionRequest

__all__ = ["follow"]

POLL_SECONDS = 2.0
# A server that is started again is away for less than this many looks at it.
PATIENCE = 30


def follow(
    look: Callable[[], Sequence[PromotionRequest]], *, pause: float = POLL_SECONDS
) -> Iterator[list[PromotionRequest]]:
    """What becomes of the requests that are queued now, or of the newest when none is.

    Args:
        look: Reads the requests from the registry, newest first.
        pause: Seconds between two looks.

    Yields:
        Those requests as they are at each look, in one order; at last none of them is queued.

    Raises:
        CouldNotCheckError: The registry does not answer, at once or for a minute.

    Examples:
        >>> done = PromotionRequest(
        ...     id="r", alias="champion", model="m", version="1", requested_at=0, state="done"
        ... )
        >>> [seen.state for (seen,) in follow(lambda: [done])]
        ['done']
    """
    found = list(look())
    followed = [request for request in found if request.state == "queued"] or found[:1]
    while True:
        yield followed
        if not any(request.state == "queued" for request in followed):
            return
        time.sleep(pause)
        known = {request.id: request for request in _patiently(look, pause)}
        followed = [known.get(request.id) or _gone(request) for request in followed]


def _patiently(
    look: Callable[[], Sequence[PromotionRequest]], pause: float
) -> Sequence[PromotionRequest]:
    for _ in range(PATIENCE - 1):
        try:
            return look()
        except CouldNotCheckError:
            time.sleep(pause)
    return look()


def _gone(request: PromotionRequest) -> PromotionRequest:
    """A request that the registry shows no more: a later one took its place, or it was deleted."""
    if request.state != "queued":
        return request
    return request.model_copy(update={"state": "superseded", "detail": "it is not known any more"})
