"""MLflow's versions against the range that the package requires."""

from pathlib import Path

import pytest

from deepsigns_registry.doctor.checks.versions import check
from tests.support.installation import installed, said_by


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ("3.17.0", "ok"),
        ("3.17.5\n", "ok"),
        ("3.16.9", "wrong"),
        ("4.0.0", "wrong"),
        ("<html>", "unchecked"),
        ("\x1b[2J3.17.1", "unchecked"),
    ],
)
def test_the_server(tmp_path: Path, said: str, standing: str) -> None:
    with said_by({"/version": said}) as uri:
        here, there = check(installed(tmp_path, uri=uri))
    assert here.standing == "ok"
    assert there.standing == standing
    assert "\x1b" not in there.message


def test_a_server_that_keeps_it_back(tmp_path: Path) -> None:
    with said_by({"/version": "3.17.1"}, status=401) as uri:
        _, there = check(installed(tmp_path, uri=uri))
    assert there.standing == "unchecked"
    assert "status 401" in there.message
