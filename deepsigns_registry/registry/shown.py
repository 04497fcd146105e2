"""What MLflow's pages show of a version: one line in words in its description, and short tags.

The line stands among what people wrote in the description and never replaces any of it. Which line
is ours is known by heart (`protocol.LINE_TAG`): one that somebody changed is theirs from then on.
Neither line nor tags say anything of where the mark sits.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime

from deepsigns_registry.attestation.statement import WatermarkPredicate
from deepsigns_registry.naming import command, version_name
from deepsigns_registry.registry.figures import evidence, plain
from deepsigns_registry.registry.protocol import (
    PERCENT_TAG,
    REASON_TAG,
    REQUESTED,
    REQUESTER_TAG,
    STATE_TAG,
    PromotionRequest,
)

__all__ = [
    "LONGEST_DESCRIPTION",
    "line_of_marked",
    "line_of_source",
    "shown_tags",
    "tags_of_marked",
    "with_line",
]

LONGEST_DESCRIPTION = 5000
"""Characters that MLflow's databases take."""
_LONGEST_REASON = 200
_WORDS = {"queued": REQUESTED, "done": "marked", "failed": "failed", "superseded": "superseded"}


def shown_tags(requests: Iterable[PromotionRequest]) -> dict[str, str | None]:
    """Short tags for people, of the request that matters most; None removes a tag.

    Args:
        requests: All of one version. Without any, no tag is touched.
    """
    known = list(requests)
    if not known:
        return {}
    request = _leading(known)
    percent = f"{request.progress.percent:.0f}" if request.progress else None
    return {
        STATE_TAG: _WORDS[request.state],
        PERCENT_TAG: percent if request.state == "queued" else None,
        REASON_TAG: plain(request.detail, _LONGEST_REASON) or None,
        REQUESTER_TAG: plain(request.requested_by, _LONGEST_REASON) or None,
    }


def tags_of_marked(
    predicate: WatermarkPredicate, request: PromotionRequest | None
) -> dict[str, str | None]:
    """Short tags for people, of a marked version.

    Args:
        predicate: What its attestation says, verified.
        request: That it was marked for, when it is known.
    """
    wanted = f" for alias '{request.alias}'" if request else ""
    return {
        STATE_TAG: "marked",
        REASON_TAG: plain(f"marked from version {predicate.parent.version}{wanted}", 200),
        REQUESTER_TAG: (request and plain(request.requested_by, _LONGEST_REASON)) or None,
    }


def line_of_source(requests: Collection[PromotionRequest]) -> str | None:
    """The line of a version that somebody wanted to promote; None when there is nothing to say.

    Args:
        requests: All of one version.
    """
    told = [request for request in requests if request.state != "superseded"]
    if not told:
        return None
    request = _leading(told)
    if request.state == "queued":
        since = _day(request.requested_at)
        return f"deepsigns: waits since {since} to be marked for alias '{request.alias}'"
    when = f" on {_day(request.ended_at)}" if request.ended_at is not None else ""
    if request.state == "failed":
        return f"deepsigns: could not be marked{when}: {plain(request.detail, 500)}"
    marked = f"v{request.marked_version}"
    return f"deepsigns: marked as {marked}{when}; deploy {marked}, not this version"


def line_of_marked(
    predicate: WatermarkPredicate, *, name: str, version: str, request: PromotionRequest | None
) -> str:
    """The line of a marked version.

    Args:
        predicate: What its attestation says, verified.
        name: The registered model.
        version: Its number.
        request: That it was marked for, when it is known: what was measured is told there.
    """
    parent = predicate.parent
    origin = f"v{parent.version}" if parent.name == name else f"{parent.name} v{parent.version}"
    score = (request and request.judgement and request.judgement.score_name) or "score"
    before, after = predicate.fidelity.parent_accuracy, predicate.fidelity.marked_accuracy
    measured = evidence(request.progress.figures) if request and request.progress else ""
    sizes = ((predicate.bits, "bits"), (predicate.queries, "queries"))
    proof = measured or " and ".join(f"{count} {what}" for count, what in sizes if count)
    check = command("deepsigns", "gate", version_name(name, version))
    return plain(
        f"deepsigns: marked from {origin} on {_written(predicate.created_at.date())}, {score} "
        f"{before:.3f} -> {after:.3f}; proof: {f'{proof}, ' if proof else ''}signed, check it with "
        f"`{check}`",
        1000,
    )


def with_line(description: str | None, before: str | None, after: str | None) -> str:
    r"""A description with its line of ours replaced; every other line stays as it is.

    Args:
        description: As people and we left it.
        before: Our line, as it was written last; None when there is none. When it is no longer
            there as it was written, somebody made it theirs.
        after: Our line from now on; None for none.

    Examples:
        >>> with_line("Trained on May's data.", None, "deepsigns: marked as v2")
        "Trained on May's data.\n\ndeepsigns: marked as v2"
        >>> with_line("deepsigns: waits\nTrained in May.", "deepsigns: waits", None)
        'Trained in May.'
    """
    text = description or ""
    lines = text.split("\n")
    if before is not None and before in lines:
        at = len(lines) - 1 - lines[::-1].index(before)
        # The empty line above the last one came with ours.
        start = at - 1 if after is None and 1 < at == len(lines) - 1 and not lines[at - 1] else at
        return "\n".join([*lines[:start], *([] if after is None else [after]), *lines[at + 1 :]])
    if after is None:
        return text
    return f"{text}\n\n{after}" if text else after


def _leading(requests: Collection[PromotionRequest]) -> PromotionRequest:
    """What is queued, the oldest first; else what was asked for last."""
    queued = [request for request in requests if request.state == "queued"]
    if queued:
        return min(queued, key=lambda request: (request.requested_at, request.id))
    return max(requests, key=lambda request: (request.requested_at, request.id))


def _day(milliseconds: int) -> str:
    return _written(datetime.fromtimestamp(milliseconds / 1000, UTC).date())


def _written(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
