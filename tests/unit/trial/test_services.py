import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.naming import without_password
from deepsigns_registry.trial.services import _Masked, _service, _watch

ADDRESS = "postgresql://mlflow:s%40cret-word@db.internal:5432/mlflow"


def test_no_line_holds_the_password_however_it_is_written() -> None:
    said: list[str] = []
    masked = _Masked(said.append, ADDRESS)
    masked(f"server | cannot reach {ADDRESS}")
    masked("server | password 's@cret-word' is wrong, s%40cret-word")
    assert said == [
        "server | cannot reach postgresql://mlflow:***@db.internal:5432/mlflow",
        "server | password '***' is wrong, ***",
    ]
    assert "cret-word" not in without_password(ADDRESS)
    assert without_password("postgresql://db/m?password=hidden") == "postgresql://db/m"


def test_a_service_and_all_that_it_started_end_together(tmp_path: Path) -> None:
    inner = "import time; print('hello', flush=True); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    said: list[str] = []
    with _service(
        "server", [sys.executable, "-c", outer], tmp_path, environment={}, say=said.append
    ) as (process, last):
        deadline = time.monotonic() + 30
        while not said and time.monotonic() < deadline:
            time.sleep(0.05)
        group = process.pid
    assert said == ["server | hello"]
    assert list(last) == ["hello"]
    alive = subprocess.run(["ps", "-o", "pid=", "-g", str(group)], capture_output=True, check=False)
    assert not alive.stdout.split()


def test_one_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    with (
        _service(
            "worker",
            [sys.executable, "-c", "raise SystemExit(7)"],
            tmp_path,
            environment={},
            say=print,
        ) as (worker, _),
        pytest.raises(CouldNotCheckError, match="the worker ended by itself with status 7"),
    ):
        _watch({"worker": worker})
