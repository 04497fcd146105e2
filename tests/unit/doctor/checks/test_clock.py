"""Clocks that differ are said, and how much of it is wrong."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from deepsigns_registry.doctor.checks.clock import check
from tests.support.installation import installed, said_by


@pytest.mark.parametrize(
    ("seconds", "standing"),
    [(0, "ok"), (20, "ok"), (-20, "ok"), (120, "attention"), (-3600, "wrong"), (3600, "wrong")],
)
def test_apart(tmp_path: Path, seconds: int, standing: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    with said_by({}, date=date) as uri:
        (line,) = check(installed(tmp_path, uri=uri))
    assert line.standing == standing
    assert bool(line.advice) == (standing != "ok")


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Foo 99999 99:99:99 GMT"])
def test_no_time(tmp_path: Path, date: str) -> None:
    with said_by({}, date=date) as uri:
        (line,) = check(installed(tmp_path, uri=uri))
    assert line.standing == "unchecked"


def test_a_database_has_no_clock(tmp_path: Path) -> None:
    (line,) = check(installed(tmp_path, uri="sqlite:///mlflow.db"))
    assert line.standing == "ok"
