import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.audit.schedule import RETRY_AFTER, check_schedule, due, exclusive
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.sections import Deployment

MONDAY = datetime(2026, 6, 1, 3, 0, tzinfo=UTC)


def deployment(schedule: str = "0 3 * * *") -> Deployment:
    return Deployment(name="app", model="m", target="m.onnx", schedule=schedule)


def test_never_audited_is_due() -> None:
    assert due(deployment(), last_answer=None, last_attempt=None, now=MONDAY)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_daily_schedule_agrees_with_counting_days(first: int, then: int) -> None:
    last, now = MONDAY + timedelta(minutes=first), MONDAY + timedelta(minutes=first + then)
    mornings = (now - MONDAY) // timedelta(days=1) - (last - MONDAY) // timedelta(days=1)
    assert due(deployment(), last_answer=last, last_attempt=last, now=now) == (mornings > 0)


def test_due_at_the_very_minute() -> None:
    now = MONDAY + timedelta(days=1)
    assert due(deployment(), last_answer=MONDAY, last_attempt=MONDAY, now=now)
    before = now - timedelta(microseconds=1)
    assert not due(deployment(), last_answer=MONDAY, last_attempt=MONDAY, now=before)


def test_missed_days_are_one_audit() -> None:
    now = MONDAY + timedelta(days=30)
    assert due(deployment(), last_answer=MONDAY, last_attempt=MONDAY, now=now)
    assert not due(deployment(), last_answer=now, last_attempt=now, now=now)


@pytest.mark.parametrize("answer", [None, MONDAY - timedelta(days=1)])
def test_failed_attempt_is_tried_again_after_a_pause(answer: datetime | None) -> None:
    for pause, expected in ((RETRY_AFTER - timedelta(seconds=1), False), (RETRY_AFTER, True)):
        now = MONDAY + pause
        assert due(deployment(), last_answer=answer, last_attempt=MONDAY, now=now) is expected


def test_failed_attempt_between_times_does_not_make_it_due() -> None:
    attempt, now = MONDAY + timedelta(hours=1), MONDAY + timedelta(hours=5)
    assert not due(deployment(), last_answer=MONDAY, last_attempt=attempt, now=now)


@pytest.mark.parametrize("schedule", ["", "daily", "61 * * * *", "0 3 * *"])
def test_no_cron_expression(schedule: str) -> None:
    with pytest.raises(ConfigurationError, match="deployment 'app': schedule"):
        check_schedule(deployment(schedule))


def test_date_that_never_comes_is_never_due_again() -> None:
    never = deployment("0 3 30 2 *")
    assert not due(never, last_answer=MONDAY, last_attempt=MONDAY, now=MONDAY.replace(year=2100))


_HOLD = """
import sys, pathlib
from deepsigns_registry.audit.schedule import exclusive
with exclusive(pathlib.Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


def test_lock_is_held_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with exclusive(tmp_path) as ours:
            assert not ours
        holder.kill()
    with exclusive(tmp_path) as ours:
        assert ours


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CouldNotCheckError, match="audit reports folder"),
        exclusive(tmp_path / "file" / "app"),
    ):
        pass
