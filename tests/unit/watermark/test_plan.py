"""What a marking does next: never more than its budget, and always towards what falls short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.watermark.embed import Course
from deepsigns_registry.watermark.evidence import Matches
from deepsigns_registry.watermark.fidelity import Cost
from deepsigns_registry.watermark.observe import Observation
from deepsigns_registry.watermark.plan import (
    Goal,
    Round,
    is_acceptable,
    is_done,
    next_course,
    reweighed,
)

SCHEMES = ["whitebox", "blackbox"]
GOAL = Goal(max_drop=0.01, max_changed=0.05)


def seen(
    bits: int = 128,
    queries: int = 400,
    *,
    drop: float = 0.0,
    low: float = -0.01,
    changed: float = 0.0,
    unread: tuple[str, ...] = (),
) -> Observation:
    return Observation(
        evidence=(
            Matches("whitebox", 128, bits, 0.5, level="a"),
            Matches("blackbox", 400, queries, 1 / 9, level="oracle"),
        ),
        unread=unread,
        cost=Cost(0.9, 0.9 - drop, drop, low, 2 * drop - low),
        changed=changed,
        tries=2,
    )


def after(*observations: Observation) -> list[Round]:
    return [Round(Course(), 900, each) for each in observations]


def test_a_good_mark_that_costs_nothing_is_done() -> None:
    assert is_done(seen(), SCHEMES, GOAL)
    assert next_course(after(seen()), SCHEMES, GOAL) is None


def test_what_is_short_is_weighed_more_for_as_many_steps() -> None:
    course = next_course(after(seen(queries=60)), SCHEMES, GOAL)
    assert course == Course(900, 1.0, {"whitebox": 1.0, "blackbox": 3.0})
    again = next_course(after(seen(queries=60), seen(queries=70)), SCHEMES, GOAL)
    assert again is not None
    assert again.steps == 1800


def test_what_costs_too_much_is_won_back_in_half_the_steps() -> None:
    course = next_course(after(seen(drop=0.02)), SCHEMES, GOAL)
    assert course == Course(450, 0.7, {"whitebox": 0.1, "blackbox": 0.1})


def test_half_of_the_limit_counts_when_it_is_no_accident() -> None:
    assert is_done(seen(drop=0.006, low=-0.001), SCHEMES, GOAL)
    assert not is_done(seen(drop=0.006, low=0.001), SCHEMES, GOAL)
    assert not is_done(seen(drop=0.011, low=-0.02), SCHEMES, GOAL)


def test_answers_count_where_a_plain_fine_tuning_changes_none() -> None:
    strayed = seen(changed=0.2)
    assert is_acceptable(strayed, SCHEMES, GOAL)
    held = Goal(max_drop=0.01, max_changed=0.05, held=True)
    # A control has the last word.
    assert is_acceptable(strayed, SCHEMES, held)
    assert not is_done(strayed, SCHEMES, held)
    assert next_course(after(strayed), SCHEMES, held) is not None


def test_a_tap_that_went_its_own_way_is_not_waited_for() -> None:
    lost = seen(unread=("whitebox: tap not verified",))
    assert next_course(after(lost), SCHEMES, GOAL) is not None
    assert next_course(after(lost, lost), SCHEMES, GOAL) is None


@pytest.mark.parametrize(("matches", "factor"), [(300, 0.1), (380, 1.0), (60, 1.0)])
def test_halfway_only_what_has_plenty_and_pushes_on_is_relieved(
    matches: int, factor: float
) -> None:
    assert reweighed(seen(queries=matches), {}).get("blackbox", 1.0) == factor
    assert "whitebox" not in reweighed(seen(), {})


observations = st.builds(
    seen,
    st.integers(40, 128),
    st.integers(0, 400),
    drop=st.floats(-0.2, 0.2),
    low=st.floats(-0.2, 0.2),
    changed=st.floats(0, 1),
    unread=st.sampled_from([(), ("lost",)]),
)


@given(st.lists(observations, min_size=1, max_size=8), st.booleans())
def test_whatever_is_seen_the_budget_holds(found: list[Observation], held: bool) -> None:
    goal = Goal(max_drop=0.01, max_changed=0.05, rounds=4, held=held)
    rounds: list[Round] = []
    course: Course | None = Course()
    for each in found:
        assert course is not None
        rounds.append(Round(course, course.steps or 900, each))
        course = next_course(rounds, SCHEMES, goal)
        if course is None:
            break
        assert course.steps is not None
        assert 450 <= course.steps <= 1800
        assert all(0 < factor <= 9 for factor in course.factors.values())
    assert len(rounds) <= 1 + goal.rounds
    if course is None and len(rounds) <= goal.rounds:
        last = rounds[-1].seen
        assert is_done(last, SCHEMES, goal) or last.unread
