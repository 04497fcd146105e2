"""What ends in a room, and how it is said."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from deepsigns_registry.sandbox.room import Bounds, Room, RoomError, tried_here
from tests.support.patience import HANG

SERVE = "from deepsigns_registry.sandbox import channel\nchannel.serve(answer)\n"


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private folders are made."""
    folder = tmp_path / "private"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def script(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "script.py"
    path.write_text(f"import os, sys, time\ndef answer(request):\n    {body}\n{SERVE}")
    return path


def test_one_process_answers_many_requests(tmp_path: Path, private: Path) -> None:
    path = script(tmp_path, "return {'double': 2 * request['number'], 'process': os.getpid()}")
    with Room(path, bounds=Bounds(seconds=HANG)) as room:
        answers = [room.ask({"number": number}) for number in range(3)]
        assert [answer["double"] for answer in answers] == [0, 2, 4]
        assert len({answer["process"] for answer in answers}) == 1
        assert len(list(private.iterdir())) == 1
    assert not list(private.iterdir())


def test_an_exception_is_an_answer_and_a_print_is_none(tmp_path: Path) -> None:
    path = script(tmp_path, "print('{\"a\": 1}'); raise ValueError('what is\\nwrong')")
    with Room(path, bounds=Bounds(seconds=HANG)) as room:
        assert room.ask({}) == {"error": "what is wrong"}
        assert room.ask({}) == {"error": "what is wrong"}


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os.abort()", "ended with SIGABRT"),
        ("os._exit(7)", "ended with exit code 7"),
        ("os.write(int(os.environ['DEEPSIGNS_ROOM_ANSWERS']), b'no JSON\\n')", "said nothing"),
        ("os.write(int(os.environ['DEEPSIGNS_ROOM_ANSWERS']), b'[1]\\n')", "said nothing"),
        (
            "while True: os.write(int(os.environ['DEEPSIGNS_ROOM_ANSWERS']), b'x' * 65536)",
            "answered more than it was asked for",
        ),
    ],
)
def test_what_gives_no_answer_is_told(tmp_path: Path, private: Path, body: str, how: str) -> None:
    with (
        pytest.raises(RoomError, match=how),
        Room(script(tmp_path, body), bounds=Bounds(seconds=HANG)) as room,
    ):
        room.ask({})
    assert not list(private.iterdir())


@pytest.mark.parametrize(
    ("body", "bounds", "how"),
    [
        ("time.sleep(1000)", Bounds(seconds=0.5), "was stopped after 0.5 seconds"),
        (
            "held = [b'x' * 2**24 for _ in range(100)]; time.sleep(1000)",
            Bounds(seconds=HANG, memory_bytes=2**29),
            "used more than 512 MiB of memory",
        ),
        (
            "[open(str(n), 'wb').write(b'x' * 2**20) for n in range(60)]; time.sleep(1000)",
            Bounds(seconds=HANG, folder_bytes=2**25),
            "used more than 32 MiB of files",
        ),
        (
            "open('one', 'wb').write(b'x' * 2**20)\n    return {}",
            Bounds(seconds=HANG, limits={"fsize": 1000}),
            "",
        ),
    ],
)
def test_a_bound_stops(tmp_path: Path, private: Path, body: str, bounds: Bounds, how: str) -> None:
    with Room(script(tmp_path, body), bounds=bounds) as room:
        if how:
            with pytest.raises(RoomError, match=how):
                room.ask({})
        else:
            assert "File too large" in room.ask({})["error"]
    assert not list(private.iterdir())


def test_time_is_counted_over_all_requests(tmp_path: Path) -> None:
    path = script(tmp_path, "time.sleep(request['for'])\n    return {}")
    with Room(path, bounds=Bounds(seconds=1.0)) as room:
        room.ask({"for": 0.7})
        assert room.spent >= 0.7
        with pytest.raises(RoomError, match="was stopped after 1 seconds"):
            room.ask({"for": 0.7})


def test_nothing_outlives_whoever_opened_the_room(tmp_path: Path) -> None:
    """Not even where that process was killed."""
    path = script(tmp_path, "time.sleep(1000)")
    opener = tmp_path / "opener.py"
    opener.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from pathlib import Path\n"
        "from deepsigns_registry.sandbox.room import Bounds, Room\n"
        f"room = Room(Path({str(path)!r}), bounds=Bounds())\n"
        "print(room._process.pid, flush=True)\n"
        "room.ask({})\n"
    )
    with subprocess.Popen([sys.executable, str(opener)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        inside = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + HANG
    while _lives(inside) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _lives(inside)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # Nobody may have asked yet how it ended.
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_every_door_is_closed_here() -> None:
    doors = tried_here()
    assert doors.open == ()
    assert {"no new privileges", "seccomp"} <= set(doors.layers)


def test_without_isolation_the_doors_are_open(tmp_path: Path) -> None:
    with Room(script(tmp_path, "return {}"), bounds=Bounds(), isolate=False) as room:
        assert set(room.doors.open) >= {"files", "network", "processes", "calls"}
        assert room.doors.layers == ()
