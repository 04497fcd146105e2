import logging

import pytest

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.sandbox.policy import check_doors

CLOSED = Doors(files=True, network=True, processes=True, calls=True, privileges=True)
OPEN = Doors(files=True, processes=True, calls=True, privileges=True)


def test_all_doors_closed_is_always_enough(caplog: pytest.LogCaptureFixture) -> None:
    for require in ("full", "limits", None):
        check_doors(CLOSED, require)
    assert not caplog.records


def test_a_door_that_is_open_is_refused_where_all_are_required() -> None:
    check_doors(OPEN, "limits")
    with pytest.raises(CouldNotCheckError, match=r"cannot close: network; see deepsigns sandbox"):
        check_doors(OPEN, "full")


def test_else_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            check_doors(OPEN, None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "network" in caplog.text


@pytest.mark.parametrize("content", [{}, {"layers": []}, {**CLOSED.to_json(), "files": 1}])
def test_what_is_no_answer_of_a_room_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no doors"):
        Doors.from_json(content)
    assert Doors.from_json(CLOSED.to_json()) == CLOSED
