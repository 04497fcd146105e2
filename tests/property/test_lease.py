"""Leases under any order of claims, renewals, releases and passing time."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.errors import RefusedError
from deepsigns_registry.registry.protocol import Claim, Release, Renew
from deepsigns_registry.registry.transitions import (
    PromotionState,
    claim,
    enqueue,
    release,
    renew,
)

WORKERS = ("a", "b", "c")


@dataclass
class Oracle:
    """Who holds the lease, kept the slow and obvious way."""

    holder: str | None = None
    fence: int = 0
    until: int = 0

    def live(self, now: int) -> bool:
        return self.holder is not None and now < self.until


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "renew", "release", "wait"]),
        st.sampled_from(WORKERS),
        st.integers(1, 30),
    ),
    max_size=60,
)


@given(steps)
def test_at_most_one_worker_holds_the_lease_and_fences_only_grow(
    story: list[tuple[str, str, int]],
) -> None:
    state, request = enqueue(
        PromotionState(),
        model="m",
        version="1",
        alias="champion",
        previous_version=None,
        now=0,
        requested_by="",
    )
    oracle, now, known, renewals = Oracle(), 0, dict.fromkeys(WORKERS, 0), 0
    for action, worker, seconds in story:
        before = state
        try:
            if action == "wait":
                now += seconds * 1000
                continue
            if action == "claim":
                state = claim(
                    state,
                    Claim(
                        model="m",
                        version="1",
                        request=request.id,
                        worker=worker,
                        fence=state.fence + 1,
                        ttl=seconds,
                    ),
                    now=now,
                )
                assert not oracle.live(now)
                oracle = Oracle(worker, oracle.fence + 1, now + seconds * 1000)
                known[worker], renewals = oracle.fence, 0
            elif action == "renew":
                state = renew(
                    state,
                    Renew(
                        model="m",
                        version="1",
                        worker=worker,
                        fence=known[worker],
                        renewal=renewals + 1,
                        ttl=seconds,
                    ),
                    now=now,
                )
                assert oracle.live(now)
                assert oracle.holder == worker
                oracle.until, renewals = now + seconds * 1000, renewals + 1
            else:
                state = release(
                    state,
                    Release(model="m", version="1", worker=worker, fence=known[worker]),
                )
                assert oracle.holder == worker
                oracle.until = min(oracle.until, now)
        except RefusedError:
            assert state is before
            allowed = {
                "claim": not oracle.live(now),
                "renew": oracle.live(now) and oracle.holder == worker,
                "release": oracle.holder == worker,
            }
            assert not allowed[action]
        assert state.fence == oracle.fence
        if oracle.live(now):
            assert state.lease is not None
            assert (state.lease.fence, state.lease.expires_at) == (oracle.fence, oracle.until)
