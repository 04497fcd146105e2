"""The local engine: results in order, progress, and what a failed job becomes."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from deepsigns_registry.engine import local, open_engine
from deepsigns_registry.engine.jobs import JobProgress
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import CouldNotCheckError, DataError
from deepsigns_registry.sandbox.room import tried_here
from deepsigns_registry.sections import EngineSettings
from tests.support.patience import HANG


def square(
    *, progress: JobProgress, number: int, seconds: float = 0.0, kept: object = None
) -> tuple[int, int]:
    del kept
    progress(0.5, f"half of {number}", {"accuracy": number / 10} if number > 3 else None)
    time.sleep(seconds)
    return number * number, os.getpid()


def count(*, progress: JobProgress, kept: dict[str, int]) -> int:
    progress(0.5, "counting")
    kept["calls"] = kept.get("calls", 0) + 1
    return kept["calls"]


def refuse(*, progress: JobProgress, kept: object = None) -> None:
    del progress, kept
    raise DataError("train: no samples", advice="check the loader")


def stumble(*, progress: JobProgress) -> None:
    del progress
    raise LookupError("no such\nthing")


def die(*, progress: JobProgress) -> None:
    del progress
    os.kill(os.getpid(), signal.SIGKILL)


def fail_soon(*, progress: JobProgress, note: Path, sleeps: bool) -> None:
    del progress
    if sleeps:
        draft = note.with_suffix(".draft")
        draft.write_text(str(os.getpid()))
        draft.replace(note)
        time.sleep(HANG)
    while not note.exists():
        time.sleep(0.05)
    raise DataError("too soon")


def test_results_come_in_the_order_of_the_jobs_from_processes_of_their_own() -> None:
    seen: list[tuple[object, ...]] = []
    engine = LocalEngine(slots=2)
    jobs: list[dict[str, object]] = [{"number": 3, "seconds": 0.3}, {"number": 4}, {"number": 5}]
    results = engine.run(square, jobs, on_progress=lambda *event: seen.append(event))
    assert [value for value, _ in results] == [9, 16, 25]
    processes = {process for _, process in results}
    assert len(processes) == 3
    assert os.getpid() not in processes
    assert sorted(seen) == [
        (0, 0.5, "half of 3", None),
        (1, 0.5, "half of 4", {"accuracy": 0.4}),
        (2, 0.5, "half of 5", {"accuracy": 0.5}),
    ]


def test_as_a_context_it_keeps_its_processes_and_ends_them_with_it() -> None:
    seen: list[tuple[object, ...]] = []
    with LocalEngine(slots=2) as engine:
        first = engine.run(square, [{"number": 1, "seconds": 0.3}, {"number": 2}])
        again = engine.run(square, [{"number": 3, "seconds": 0.3}, {"number": 4}])
        third = engine.run(square, [{"number": 5}], on_progress=lambda *event: seen.append(event))
        assert [value for value, _ in [*first, *again, *third]] == [1, 4, 9, 16, 25]
        processes = {process for _, process in [*first, *again, *third]}
        assert len(processes) == 2
        assert seen == [(0, 0.5, "half of 5", {"accuracy": 0.5})]
        engine.release()
        ((_, fresh),) = engine.run(square, [{"number": 6}])
        assert fresh not in processes
    for process in {*processes, fresh}:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_what_a_job_keeps_is_there_for_the_next_one_and_for_no_other_context() -> None:
    with LocalEngine() as engine:
        assert [engine.run(count, [{}]) for _ in range(3)] == [[1], [2], [3]]
        engine.release()
        assert engine.run(count, [{}]) == [1]


def test_a_process_that_was_kept_and_died_is_said_to_be_dead_and_is_not_used_again() -> None:
    with LocalEngine() as engine:
        ((_, process),) = engine.run(square, [{"number": 1}])
        os.kill(process, signal.SIGKILL)
        with pytest.raises(CouldNotCheckError, match="ended by SIGKILL"):
            engine.run(square, [{"number": 2}])
        ((_, fresh),) = engine.run(square, [{"number": 3}])
    assert fresh != process


def test_after_an_error_the_next_job_has_a_process_of_its_own() -> None:
    with LocalEngine() as engine:
        with pytest.raises(DataError):
            engine.run(refuse, [{}])
        assert engine.run(square, [{"number": 3}])[0][0] == 9


def test_a_known_error_arrives_as_it_was_raised() -> None:
    with pytest.raises(DataError, match="train: no samples; check the loader"):
        LocalEngine().run(refuse, [{}])


def test_an_unknown_error_becomes_one_line() -> None:
    with pytest.raises(CouldNotCheckError, match=r"^a job failed: LookupError: no such$"):
        LocalEngine().run(stumble, [{}])


def test_a_killed_job_is_said_to_be_killed() -> None:
    with pytest.raises(CouldNotCheckError, match="ended by SIGKILL; it may have run out of memory"):
        LocalEngine().run(die, [{}])


def test_one_failure_stops_the_other_jobs(tmp_path: Path) -> None:
    note = tmp_path / "sleeper"
    engine = LocalEngine(slots=2)
    with pytest.raises(DataError, match="too soon"):
        engine.run(fail_soon, [{"note": note, "sleeps": True}, {"note": note, "sleeps": False}])
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_the_settings_choose_the_engine() -> None:
    assert isinstance(open_engine(EngineSettings(jobs=2)), LocalEngine)


def chatter(*, progress: JobProgress) -> int:
    progress(0.5, "chattering")
    sys.stdout.write("from python\n")
    sys.stdout.flush()
    os.write(1, b"from below")
    return 1


def linger(*, progress: JobProgress, note: Path) -> int:
    progress(0.5, "lingering")
    threading.Thread(target=time.sleep, args=(HANG,)).start()
    note.write_text(str(os.getpid()))
    return 1


def test_what_a_job_prints_does_not_mix_with_the_command_s_own_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert LocalEngine().run(chatter, [{}]) == [1]
    out, err = capfd.readouterr()
    assert out == ""
    assert "from python" in err
    assert "from below" in err


def test_a_job_that_leaves_a_thread_behind_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_PATIENCE", 0.1)
    assert LocalEngine().run(linger, [{"note": tmp_path / "note"}]) == [1]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "note").read_text()), 0)


def look(*, progress: JobProgress, paths: list[Path], parent: int) -> dict[str, str]:
    """What a job that was shielded can read, write and run."""
    del progress
    found = {}
    for path in paths:
        try:
            found[path.name] = path.read_text()
        except OSError as error:
            found[path.name] = type(error).__name__
    try:
        Path(f"/proc/{parent}/mem").open("rb").close()
        found["memory"] = "open"
    except OSError as error:
        found["memory"] = type(error).__name__
    with tempfile.NamedTemporaryFile("w") as file:
        found["scratch"] = str(Path(file.name).is_file())
    found["program"] = str(subprocess.run(["true"], check=False).returncode)
    found["variable"] = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    found["setting"] = os.environ["DEEPSIGNS_MODELS__FRAUD__BITS"]
    found["core"] = str(resource.getrlimit(resource.RLIMIT_CORE)[0])
    found["room"] = ", ".join(tried_here().open) or "closed"
    return found


def test_a_job_does_not_see_what_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, data = tmp_path / "keys", tmp_path / "data"
    for folder in (keys, data):
        folder.mkdir()
    (keys / "private.pem").write_text("secret")
    (tmp_path / "alone.pem").write_text("secret")
    (data / "train.csv").write_text("1, 2")
    (tmp_path / "settings.toml").write_text("[owner]")
    (data / "linked").symlink_to(keys / "private.pem")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    monkeypatch.setenv("DEEPSIGNS_MODELS__FRAUD__BITS", "64")
    paths = [keys / "private.pem", tmp_path / "alone.pem", data / "train.csv"]
    paths += [tmp_path / "settings.toml", data / "linked"]
    hidden = [keys, tmp_path / "alone.pem", tmp_path / "nothing"]
    (found,) = LocalEngine(hidden=hidden).run(look, [{"paths": paths, "parent": os.getpid()}])
    assert found == {
        "private.pem": "PermissionError",
        "alone.pem": "PermissionError",
        "linked": "PermissionError",
        "train.csv": "1, 2",
        "settings.toml": "[owner]",
        "memory": "PermissionError",
        "scratch": "True",
        "program": "0",
        "variable": "",
        "setting": "64",
        "core": "0",
        # What is a stranger's runs in a room from there, too.
        "room": "closed",
    }
