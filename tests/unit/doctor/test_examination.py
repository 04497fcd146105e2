"""One check never keeps another from being said, and no line holds a secret."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepsigns_registry.config import Settings
from deepsigns_registry.doctor.check import Check, Line
from deepsigns_registry.doctor.examination import CHECKS, Examined, examine, exit_code_of
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, TamperedError
from tests.support.installation import installed


def ends(error: BaseException) -> Check:
    def check(_settings: Settings, /) -> Iterator[Line]:
        yield Line("ok", "begun")
        raise error

    return check


def hangs(_settings: Settings, /) -> Iterator[Line]:
    yield Line("ok", "begun")
    threading.Event().wait()
    yield Line("ok", "never said")


def fine(_settings: Settings, /) -> Iterator[Line]:
    yield Line("ok", "well")


@pytest.mark.parametrize(
    ("error", "standing", "message"),
    [
        (ConfigurationError("no key"), "wrong", "no key"),
        (TamperedError("broken"), "wrong", "broken"),
        (CouldNotCheckError("down"), "unchecked", "down"),
        (ModuleNotFoundError("no", name="onnx"), "attention", "not looked at: onnx is not"),
        (PermissionError(13, "Permission denied", "/x"), "unchecked", "/x: Permission denied"),
        (KeyError("a"), "unchecked", "internal error: KeyError: 'a'"),
    ],
)
def test_a_check_that_ends_in_an_error(
    tmp_path: Path, error: BaseException, standing: str, message: str
) -> None:
    settings = installed(tmp_path)
    first, last, other = examine(settings, {"a": ends(error), "b": fine})
    assert first == Examined("a", Line("ok", "begun"))
    assert (last.check, last.line.standing) == ("a", standing)
    assert last.line.message.startswith(message)
    assert other == Examined("b", Line("ok", "well"))


def test_a_check_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    found = list(examine(installed(tmp_path), {"a": hangs, "b": fine}, patience=0.5))
    assert [each.line.standing for each in found] == ["ok", "unchecked", "ok"]
    assert found[1].line.message == "the check did not end within 0.5 seconds"


def test_no_line_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0k3n")
    settings = installed(tmp_path, uri="https://me:p%40ss@host/path")

    def tells(_settings: Settings, /) -> Iterator[Line]:
        yield Line("ok", "https://me:p%40ss@host/path", "p@ss and p%40ss and t0k3n")
        yield Line("ok", "postgresql://other:word@host/db")

    for each in examine(settings, {"a": tells}):
        said = each.line.message + each.line.advice
        assert "host" in said
        for secret in ("p@ss", "p%40ss", "t0k3n", "word"):
            assert secret not in each.line.message
            assert secret not in each.line.advice


@pytest.mark.parametrize(
    ("standings", "code"),
    [("", 0), ("ok attention", 0), ("ok unchecked attention", 3), ("unchecked wrong ok", 1)],
)
def test_exit_codes(standings: str, code: int) -> None:
    lines: dict[str, Line] = {
        "ok": Line("ok", ""),
        "attention": Line("attention", ""),
        "wrong": Line("wrong", ""),
        "unchecked": Line("unchecked", ""),
    }
    assert exit_code_of([Examined("a", lines[word]) for word in standings.split()]) == code


def test_each_check_is_its_own_file() -> None:
    for name, check in CHECKS.items():
        assert check.__module__ == f"deepsigns_registry.doctor.checks.{name}"


BASE = """
import sys
for name in ("numpy", "scipy", "torch", "onnx", "onnxruntime", "pandas", "mlflow.pytorch"):
    sys.modules[name] = None
from deepsigns_registry.cli import main
main(["doctor", "--json"])
"""


def test_the_base_install_suffices(tmp_path: Path) -> None:
    installed(tmp_path, '\n[models.m]\ndata = "a:b"\n')
    done = subprocess.run(
        [sys.executable, "-c", BASE],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if "DEEPSIGNS" not in name},
        capture_output=True,
        text=True,
        check=False,
    )
    # No server answers; nothing else is at fault.
    assert done.returncode == 3, done.stderr
    assert "internal error" not in done.stdout
    lines = json.loads(done.stdout)["answer"]["lines"]
    told = {line["check"]: line for line in lines if line["standing"] == "attention"}
    for check in ("recipes", "runtime"):
        assert told[check]["message"].startswith("not looked at: ")
    unchecked = {line["check"] for line in lines if line["standing"] == "unchecked"}
    assert unchecked == {"server", "versions", "clock", "requests"}
