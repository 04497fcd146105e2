"""What each command does to a version's promotion state: pure functions, no database.

The server's plugin reads the tags of a version under a lock, calls one of these, and writes the
result back in the same transaction. A refusal raises `RefusedError` and changes nothing.
A command that was already executed changes nothing and is no error, so that a client may send it
again when the answer was lost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

from pydantic import ValidationError

from deepsigns_registry.attestation.statement import MOST_COUNT
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import RefusedError
from deepsigns_registry.registry.protocol import (
    EARLIER_LEASE_TAG,
    FENCE_TAG,
    LEASE_TAG,
    Claim,
    Lease,
    Promote,
    PromotionRequest,
    Release,
    Renew,
    Report,
    alias_of_tag,
    earlier_request_tag,
    request_tag,
)
from deepsigns_registry.registry.shown import shown_tags

__all__ = ["PromotionState", "claim", "enqueue", "promote", "release", "renew", "report"]


@dataclass(frozen=True)
class PromotionState:
    """Requests and lease of one version.

    Attributes:
        requests: By alias.
        lease: The lease that was not given back, expired or not.
        fence: The last fence that was given out; 0 before the first claim.
    """

    requests: Mapping[str, PromotionRequest] = field(default_factory=dict)
    lease: Lease | None = None
    fence: int = 0

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "PromotionState":
        """Reads the state; what cannot be read was not written by the plugin and is ignored."""
        requests: dict[str, PromotionRequest] = {}
        # Reversed, the names of today come first.
        for key in sorted(tags, reverse=True):
            alias = alias_of_tag(key)
            if alias is None or alias in requests:
                continue
            try:
                request = PromotionRequest.model_validate(read_json(tags[key]))
            except (UnreadableError, ValidationError):
                continue
            if request.alias == alias:
                requests[alias] = request
        try:
            written = tags.get(LEASE_TAG, tags.get(EARLIER_LEASE_TAG))
            lease = None if written is None else Lease.model_validate(read_json(written))
        except (UnreadableError, ValidationError):
            lease = None
        fence = _number(tags.get(FENCE_TAG, ""))
        return cls(requests, lease, max(fence, lease.fence) if lease else fence)

    def to_tags(self) -> dict[str, str | None]:
        """The tags of this state; None stands for a tag that is to be removed."""
        tags: dict[str, str | None] = {
            FENCE_TAG: str(self.fence) if self.fence else None,
            LEASE_TAG: self.lease.model_dump_json() if self.lease else None,
            EARLIER_LEASE_TAG: None,
            **shown_tags(self.requests.values()),
        }
        for alias, request in self.requests.items():
            tags[earlier_request_tag(alias)] = None
            tags[request_tag(alias)] = request.model_dump_json()
        return tags

    def queued(self) -> list[PromotionRequest]:
        """Requests that wait for a worker, oldest first."""
        waiting = [request for request in self.requests.values() if request.state == "queued"]
        return sorted(waiting, key=lambda request: (request.requested_at, request.id))

    def find(self, request_id: str) -> PromotionRequest:
        """The request with this id.

        Raises:
            RefusedError: This version has none.
        """
        for request in self.requests.values():
            if request.id == request_id:
                return request
        raise RefusedError(
            f"promotion request {request_id} does not exist any more",
            advice="list what is queued with: deepsigns status",
        )

    def supersede(self, alias: str, detail: str) -> "PromotionState":
        """Ends the queued request of an alias: somebody decided otherwise."""
        request = self.requests.get(alias)
        if request is None or request.state != "queued":
            return self
        return self._with(request.model_copy(update={"state": "superseded", "detail": detail}))

    def renamed(self, model: str) -> "PromotionState":
        """The same state after the registered model got another name."""
        return replace(
            self,
            requests={
                alias: request.model_copy(update={"model": model})
                for alias, request in self.requests.items()
            },
        )

    def _with(self, *requests: PromotionRequest) -> "PromotionState":
        return replace(
            self, requests={**self.requests, **{request.alias: request for request in requests}}
        )

    def _settled(self) -> "PromotionState":
        # With nothing left to do the lease ends, so that the next request need not wait for it.
        if self.lease is None or self.queued():
            return self
        return replace(self, lease=None)


def enqueue(
    state: PromotionState,
    *,
    model: str,
    version: str,
    alias: str,
    previous_version: str | None,
    now: int,
    requested_by: str,
) -> tuple[PromotionState, PromotionRequest]:
    """Records that `alias` is wanted on this version; a request still queued is kept as it is.

    Examples:
        >>> wanted = {"model": "fraud", "version": "7", "alias": "champion"}
        >>> wanted |= {"previous_version": "3", "requested_by": "ci"}
        >>> state, request = enqueue(PromotionState(), **wanted, now=0)
        >>> again, same = enqueue(state, **wanted, now=9)
        >>> same.id == request.id, request.state
        (True, 'queued')
    """
    known = state.requests.get(alias)
    if known is not None and known.state == "queued":
        return state, known
    request = PromotionRequest(
        id=uuid4().hex,
        alias=alias,
        model=model,
        version=version,
        previous_version=previous_version,
        requested_at=now,
        requested_by=requested_by,
    )
    return state._with(request), request  # noqa: SLF001 - one module, one concept


def claim(state: PromotionState, command: Claim, *, now: int) -> PromotionState:
    """Gives the lease to the worker, with the next fence.

    Raises:
        RefusedError: Another worker holds it, the request is no longer queued, or the fence is
            not the next one.
    """
    lease = state.lease
    if lease is not None and lease.command == command.id:
        return state
    _queued(state, [command.request])
    if lease is not None and lease.expires_at > now:
        seconds = max(1, (lease.expires_at - now) // 1000)
        raise RefusedError(
            f"{command.model}/{command.version} is leased to worker {lease.worker} for another "
            f"{seconds} s",
            advice="wait, or take another request",
        )
    if command.fence != state.fence + 1:
        raise RefusedError(
            f"{command.model}/{command.version}: fence {command.fence} is not the next one "
            f"({state.fence + 1})",
            advice="read the lease again, then claim",
        )
    return replace(
        state,
        lease=Lease(
            fence=command.fence,
            worker=command.worker,
            command=command.id,
            expires_at=now + round(command.ttl * 1000),
        ),
        fence=command.fence,
    )


def renew(state: PromotionState, command: Renew, *, now: int) -> PromotionState:
    """Extends the lease.

    Raises:
        RefusedError: The lease is lost, nothing is queued any more, or this renewal is an old one.
    """
    lease = _live(state, command, now)
    if lease.renewed_by == command.id:
        return state
    if not state.queued():
        raise RefusedError(
            f"{command.model}/{command.version}: nothing is queued any more",
            advice="stop the work: somebody decided otherwise",
        )
    if command.renewal != lease.renewals + 1:
        raise RefusedError(
            f"{command.model}/{command.version}: renewal {command.renewal} is not the next one "
            f"({lease.renewals + 1})",
            advice="read the lease again, then renew",
        )
    return replace(
        state,
        lease=lease.model_copy(
            update={
                "expires_at": now + round(command.ttl * 1000),
                "renewals": command.renewal,
                "renewed_by": command.id,
            }
        ),
    )


def release(state: PromotionState, command: Release) -> PromotionState:
    """Ends the lease now; a lease that has ended stays ended.

    Raises:
        RefusedError: Another worker has it.
    """
    lease = state.lease
    if lease is None and 0 < command.fence == state.fence:
        return state
    if lease is None or lease.fence != command.fence or lease.worker != command.worker:
        raise _lost(command)
    return replace(state, lease=None)


def report(state: PromotionState, command: Report, *, now: int) -> PromotionState:
    """Notes progress, or ends the request as failed.

    Raises:
        RefusedError: The lease is lost, or the request is no longer queued.
    """
    request = state.find(command.request)
    if request.command == command.id:
        return state
    _live(state, command, now)
    _queued(state, [command.request])
    said: dict[str, object] = {"state": command.state, "detail": command.detail}
    if command.state == "failed":
        said |= {"command": command.id, "ended_at": now}
    if command.progress is not None:
        said["progress"] = command.progress.model_copy(update={"updated_at": now})
    if command.judgement is not None:
        said["judgement"] = command.judgement
    changed = request.model_copy(update=said)
    return state._with(changed)._settled()  # noqa: SLF001 - one module, one concept


def promote(
    state: PromotionState, command: Promote, *, current: str | None, now: int
) -> tuple[PromotionState, bool]:
    """Decides whether the alias may move to the marked version.

    Args:
        state: Of the version that was asked for.
        command: What the worker wants.
        current: Where the alias points now.
        now: The database's time.

    Returns:
        The new state, and whether the alias is to be written (not when this very command was
        executed before).

    Raises:
        RefusedError: The lease is lost, the request is no longer queued, or the alias was moved.
    """
    request = state.find(command.request)
    if request.state == "done" and request.command == command.id:
        return state, False
    _live(state, command, now)
    _queued(state, [command.request])
    if request.alias != command.alias:
        raise RefusedError(
            f"promotion request {request.id} is for alias '{request.alias}', not '{command.alias}'"
        )
    if not current == request.previous_version == command.expected_previous:
        raise RefusedError(
            f"alias '{request.alias}' of {command.model} points at {_name(current)} and not at "
            f"{_name(request.previous_version)} as when the promotion was requested",
            advice="set the alias again if it is still wanted",
        )
    complete = {"stage": "done", "percent": 100.0, "seconds_left": None, "updated_at": now}
    done = request.model_copy(
        update={
            "progress": request.progress and request.progress.model_copy(update=complete),
            "state": "done",
            "detail": f"promoted as version {command.marked_version}",
            "marked_version": command.marked_version,
            "command": command.id,
            "ended_at": now,
        }
    )
    return state._with(done)._settled(), True  # noqa: SLF001 - one module, one concept


def _number(written: str) -> int:
    readable = written.isascii() and written.isdecimal() and len(written) <= len(str(MOST_COUNT))
    return int(written) if readable else 0


def _name(version: str | None) -> str:
    return f"version {version}" if version else "no version"


def _live(state: PromotionState, command: Renew | Report | Promote, now: int) -> Lease:
    lease = state.lease
    if (
        lease is None
        or lease.fence != command.fence
        or lease.worker != command.worker
        or lease.expires_at <= now
    ):
        raise _lost(command)
    return lease


def _lost(command: Renew | Release | Report | Promote) -> RefusedError:
    return RefusedError(
        f"worker {command.worker} does not hold the lease of {command.model}/{command.version} "
        f"with fence {command.fence} any more",
        advice="stop the work; it is or will be done under a newer lease",
    )


def _queued(state: PromotionState, ids: Iterable[str]) -> None:
    for request_id in ids:
        request = state.find(request_id)
        if request.state != "queued":
            detail = f": {request.detail}" if request.detail else ""
            raise RefusedError(
                f"promotion request {request.id} is {request.state}{detail}",
                advice="set the alias again if it is still wanted",
            )
