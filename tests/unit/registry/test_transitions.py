"""The promotion state of one version, without a database."""

import pytest

from deepsigns_registry.errors import RefusedError
from deepsigns_registry.registry.progress import DataJudgement, Progress
from deepsigns_registry.registry.protocol import (
    Claim,
    Promote,
    PromotionRequest,
    Release,
    Renew,
    Report,
)
from deepsigns_registry.registry.transitions import (
    PromotionState,
    claim,
    enqueue,
    promote,
    release,
    renew,
    report,
)

NOW = 1_000_000


def queued(*aliases: str) -> tuple[PromotionState, dict[str, PromotionRequest]]:
    state, requests = PromotionState(), {}
    for alias in aliases:
        state, requests[alias] = enqueue(
            state,
            model="m",
            version="7",
            alias=alias,
            previous_version="6",
            now=NOW,
            requested_by="ada",
        )
    return state, requests


def claiming(request: PromotionRequest, *, fence: int = 1, worker: str = "w") -> Claim:
    return Claim(model="m", version="7", request=request.id, worker=worker, fence=fence, ttl=60)


def promoting(wanted: PromotionRequest, **changed: object) -> Promote:
    fields: dict[str, object] = {
        "model": "m",
        "version": "7",
        "request": wanted.id,
        "worker": "w",
        "fence": 1,
        "alias": wanted.alias,
        "marked_version": "8",
        "expected_previous": "6",
    }
    return Promote.model_validate({**fields, **changed})


def reporting(request: PromotionRequest, **changed: object) -> Report:
    fields: dict[str, object] = {
        "model": "m",
        "version": "7",
        "request": request.id,
        "worker": "w",
        "fence": 1,
        "state": "queued",
        "detail": "marking",
    }
    return Report.model_validate({**fields, **changed})


def written(state: PromotionState) -> dict[str, str]:
    return {key: value for key, value in state.to_tags().items() if value is not None}


def test_asking_twice_keeps_the_first_request() -> None:
    state, requests = queued("champion")
    again, request = enqueue(
        state,
        model="m",
        version="7",
        alias="champion",
        previous_version="9",
        now=NOW + 5,
        requested_by="bob",
    )
    assert (again, request) == (state, requests["champion"])


def test_state_survives_the_tags() -> None:
    state, requests = queued("champion", "blue")
    state = claim(state, claiming(requests["blue"]), now=NOW)
    tags = {key: value for key, value in state.to_tags().items() if value is not None}
    assert PromotionState.from_tags(tags) == state
    assert tags["deepsigns.state"] == "requested"


def test_tags_that_the_plugin_did_not_write_are_ignored() -> None:
    _, requests = queued("champion")
    tags = {
        "mlflow.deepsigns.request.champion": "not json",
        "deepsigns.request.blue": requests["champion"].model_dump_json(),
        "mlflow.deepsigns.lease": '{"fence": 0}',
        "mlflow.deepsigns.fence": "-1",
        "team": "risk",
    }
    assert PromotionState.from_tags(tags) == PromotionState()


def test_one_lease_serves_all_aliases_and_ends_with_the_last_request() -> None:
    state, requests = queued("champion", "blue")
    state = claim(state, claiming(requests["champion"]), now=NOW)
    state, moved = promote(state, promoting(requests["champion"]), current="6", now=NOW + 1)
    assert moved
    assert state.lease is not None
    assert state.lease.expires_at == NOW + 60_000
    state, _ = promote(state, promoting(requests["blue"]), current="6", now=NOW + 2)
    assert state.lease is None
    assert state.to_tags()["mlflow.deepsigns.lease"] is None
    assert state.to_tags()["deepsigns.state"] == "marked"


def test_a_lost_answer_may_be_asked_for_again() -> None:
    state, requests = queued("champion", "blue")
    first = claiming(requests["champion"])
    state = claim(state, first, now=NOW)
    assert claim(state, first, now=NOW + 1) is state
    renewal = Renew(model="m", version="7", worker="w", fence=1, renewal=1, ttl=60)
    state = renew(state, renewal, now=NOW + 10)
    assert renew(state, renewal, now=NOW + 20) is state
    failing = Report(
        model="m",
        version="7",
        request=requests["blue"].id,
        worker="w",
        fence=1,
        state="failed",
        detail="no",
    )
    state = report(state, failing, now=NOW + 20)
    assert report(state, failing, now=NOW + 99_999) is state
    command = promoting(requests["champion"])
    state, moved = promote(state, command, current="6", now=NOW + 20)
    assert moved
    assert promote(state, command, current="9", now=NOW + 99_999) == (state, False)


def test_a_report_tells_how_far_the_work_is_and_the_next_one_keeps_what_it_leaves_out() -> None:
    state, requests = queued("champion")
    state = claim(state, claiming(requests["champion"]), now=NOW)
    half = Progress(stage="marking", percent=50, figures={"accuracy": 0.9}, seconds_left=9)
    fit = DataJudgement(score=0.9, score_name="accuracy")
    state = report(state, reporting(requests["champion"], progress=half), now=NOW + 10)
    state = report(state, reporting(requests["champion"], judgement=fit), now=NOW + 20)
    told = PromotionState.from_tags(written(state)).requests["champion"]
    assert told.progress == half.model_copy(update={"updated_at": NOW + 10})
    assert told.judgement == fit
    state, _ = promote(state, promoting(requests["champion"]), current="6", now=NOW + 30)
    done = state.requests["champion"].progress
    assert done == Progress(
        stage="done", percent=100, figures={"accuracy": 0.9}, updated_at=NOW + 30
    )


def test_a_worker_that_reports_no_progress_promotes_all_the_same() -> None:
    state, requests = queued("champion")
    state = claim(state, claiming(requests["champion"]), now=NOW)
    state = report(state, reporting(requests["champion"]), now=NOW)
    state, _ = promote(state, promoting(requests["champion"]), current="6", now=NOW)
    assert (state.requests["champion"].state, state.requests["champion"].progress) == ("done", None)


def test_asking_again_begins_with_no_progress() -> None:
    state, requests = queued("champion")
    state = claim(state, claiming(requests["champion"]), now=NOW)
    failed = reporting(requests["champion"], state="failed", progress=Progress(percent=9))
    state = report(state, failed, now=NOW)
    state, again = enqueue(
        state,
        model="m",
        version="7",
        alias="champion",
        previous_version="6",
        now=NOW,
        requested_by="ada",
    )
    assert (again.progress, again.judgement) == (None, None)


def test_a_renewal_counts_once() -> None:
    state, requests = queued("champion")
    state = claim(state, claiming(requests["champion"]), now=NOW)
    old = Renew(model="m", version="7", worker="w", fence=1, renewal=1, ttl=60)
    new = Renew(model="m", version="7", worker="w", fence=1, renewal=2, ttl=60)
    state = renew(renew(state, old, now=NOW), new, now=NOW)
    with pytest.raises(RefusedError, match="renewal 1 is not the next one"):
        renew(state, old, now=NOW + 1)


@pytest.mark.parametrize(
    ("changed", "current", "message"),
    [
        ({"fence": 2}, "6", "does not hold the lease"),
        ({"worker": "x"}, "6", "does not hold the lease"),
        ({"request": "other"}, "6", "does not exist any more"),
        ({"alias": "blue"}, "6", "is for alias 'champion', not 'blue'"),
        ({}, "9", "points at version 9 and not at version 6"),
        ({}, None, "points at no version and not at version 6"),
        ({"expected_previous": "5"}, "6", "as when the promotion was requested"),
    ],
)
def test_a_promotion_that_is_not_due_is_refused(
    changed: dict[str, object], current: str | None, message: str
) -> None:
    state, requests = queued("champion")
    state = claim(state, claiming(requests["champion"]), now=NOW)
    with pytest.raises(RefusedError, match=message):
        promote(state, promoting(requests["champion"], **changed), current=current, now=NOW)


def test_an_expired_lease_does_nothing() -> None:
    state, requests = queued("champion")
    state = claim(state, claiming(requests["champion"]), now=NOW)
    with pytest.raises(RefusedError, match="does not hold the lease"):
        promote(state, promoting(requests["champion"]), current="6", now=NOW + 60_000)


def test_claims_are_refused_in_the_order_that_helps() -> None:
    state, requests = queued("champion")
    with pytest.raises(RefusedError, match=r"fence 5 is not the next one \(1\)"):
        claim(state, claiming(requests["champion"], fence=5), now=NOW)
    held = claim(state, claiming(requests["champion"]), now=NOW)
    with pytest.raises(RefusedError, match="is leased to worker w for another 60 s"):
        claim(held, claiming(requests["champion"], fence=2, worker="x"), now=NOW)
    ended = state.supersede("champion", "alias deleted")
    with pytest.raises(RefusedError, match="is superseded: alias deleted"):
        claim(ended, claiming(requests["champion"]), now=NOW)
    assert ended.supersede("champion", "again") is ended
    assert ended.supersede("no-such", "again") is ended


def test_a_released_lease_can_be_claimed_at_once_and_not_released_by_others() -> None:
    state, requests = queued("champion")
    with pytest.raises(RefusedError, match="does not hold the lease"):
        release(state, Release(model="m", version="7", worker="w", fence=1))
    state = claim(state, claiming(requests["champion"]), now=NOW)
    state = release(state, Release(model="m", version="7", worker="w", fence=1))
    state = claim(state, claiming(requests["champion"], fence=2, worker="x"), now=NOW + 6)
    assert state.lease is not None
    assert state.lease.worker == "x"
