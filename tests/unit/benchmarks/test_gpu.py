"""`benchmarks/gpu.sh` in small on the processor, and what it can do without."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.__main__ import failures_in, limits, main
from benchmarks.gpu.phases import PHASES

ROOT = Path(__file__).parents[3]
# What torch itself needs, or tries, is its own affair.
IMPORTS = """
import sys

ALLOWED = {"torch", "numpy", "scipy", "deepsigns_registry", "benchmarks"}


class Others:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package in ALLOWED or package in sys.stdlib_module_names:
            return None
        frame = sys._getframe(1)
        while frame:
            asked = frame.f_globals.get("__name__", "").partition(".")[0]
            if asked in {"torch", "numpy", "scipy"}:
                return None
            if asked in {"deepsigns_registry", "benchmarks"}:
                break
            frame = frame.f_back
        raise ModuleNotFoundError(f"not installed here: {name}")


sys.meta_path.insert(0, Others())
try:
    import yaml
    raise SystemExit("the hook lets everything through")
except ModuleNotFoundError:
    pass

import benchmarks.gpu.__main__
from benchmarks.gpu.phases import tests_of_the_method

print(tests_of_the_method().countTestCases())
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("gpu") / "made" / "gpu.json"
    command = ["bash", str(ROOT / "benchmarks/gpu.sh"), "--device", "cpu", "--tiny"]
    # So much time that no other process can make it too little.
    command += ["--out", str(out), "--minutes", "600"]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd=out.parents[1], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert [path.name for path in out.parent.iterdir()] == ["gpu.json"]
    found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return found


@pytest.mark.deep
def test_one_file_says_what_was_measured_and_where(report: dict[str, Any]) -> None:
    assert report["failures"] == []
    assert report["not_run"] == []
    assert report["tiny"] is True
    assert report["device"]
    assert report["torch"]
    assert list(report["phases"]) == list(PHASES)
    assert report["seconds"] >= sum(phase["seconds"] for phase in report["phases"].values()) - 1


@pytest.mark.deep
def test_the_tests_of_the_method_are_run(report: dict[str, Any]) -> None:
    figures = report["phases"]["tests"]["figures"]
    assert figures["failed"] == []
    assert figures["skipped"] == 0
    assert figures["run"] >= 12


@pytest.mark.deep
def test_marked_and_plain_steps_are_compared(report: dict[str, Any]) -> None:
    figures = report["phases"]["speed"]["figures"]
    assert figures["network"] == "WRN-10-1"
    # Triggers and queries ride with the batch.
    assert figures["samples_a_marked_step"] > figures["batch_size"]
    for name in ("step_ratio_to_plain", "step_ratio_to_plain_as_many_samples"):
        ratio = figures[name]
        assert 0 < ratio["least"] <= ratio["median"] <= ratio["largest"]
    assert set(figures["samples_a_second"]) == {"marked", "plain", "plain_as_many_samples"}
    assert min(figures["samples_a_second"].values()) > 0
    # A processor's memory is not what torch counts.
    assert set(figures["peak_mib"].values()) == {None}


@pytest.mark.deep
def test_the_mark_is_read_in_both_precisions(report: dict[str, Any]) -> None:
    figures = report["phases"]["mark"]["figures"]
    assert figures["parent"]["read"]["float32"]["verdict"] != "present"
    assert set(figures["marked"]) == {"bfloat16", "float32"}
    for marked in figures["marked"].values():
        assert set(marked["read"]) == {"bfloat16", "float32"}
        for reading in marked["read"].values():
            assert reading["verdict"] == "present"
            assert reading["evidence"]["whitebox"]["trials"] == 64
            assert reading["evidence"]["whitebox"]["log10_p"] <= -9


def test_a_bare_machine_has_all_that_it_needs() -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{IMPORTS}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 12


def test_what_is_not_done_in_time_is_a_failure_and_the_rest_is_still_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    assert main(["--device", "cpu", "--tiny", "--out", str(out), "--minutes", "0"]) == 1
    report = json.loads(out.read_text("utf-8"))
    assert report["failures"] == [
        f"{name}: not done within 0 s; its figures so far are kept" for name in PHASES
    ]
    assert "failed: mark: not done" in capfd.readouterr().err


def test_the_time_of_all_phases_is_never_more_than_what_is_left() -> None:
    names, left = list(PHASES), 510.0
    for place in range(len(names)):
        left -= limits(names[place:], left)
    assert left == pytest.approx(0)
    assert limits(names, -5.0) == 0


def test_a_mark_that_is_not_read_and_one_that_is_not_there_are_failures() -> None:
    read = {"float32": {"verdict": "present"}, "bfloat16": {"verdict": "undecided"}}
    figures = {
        "parent": {"read": {"float32": {"verdict": "present"}}},
        "marked": {"bfloat16": {"read": read}},
    }
    assert failures_in("mark", figures) == [
        "mark: embedded in bfloat16, read in bfloat16: undecided",
        "mark: the parent reads as present",
    ]
    assert failures_in("tests", {"run": 0, "skipped": 0, "failed": []}) == ["tests: none was run"]


def test_a_machine_without_a_device_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["--out", str(tmp_path / "gpu.json")]) == 1
    assert "no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
