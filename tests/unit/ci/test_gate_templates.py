"""The pipeline templates are well-formed and safe, and agree with each other and the README."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    RefusedError,
    TamperedError,
)

CI = Path(__file__).parents[3] / "ci"
ACTION: dict[str, Any] = yaml.safe_load((CI / "github" / "action.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((CI / "gitlab" / "deepsigns-gate.yml").read_text())
JOB: dict[str, Any] = GITLAB[".deepsigns-gate"]
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
ANSWERS = re.compile(r"case .*?esac", re.DOTALL)


def _gate_step() -> dict[str, Any]:
    return next(step for step in STEPS if step.get("id") == "gate")


def test_the_action_is_a_composite_action_with_a_gate() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert ACTION["inputs"]["uri"]["required"] is True
    assert set(ACTION["outputs"]) == {"exit-code", "answer", "report"}
    assert 'deepsigns gate --config "$GATE_CONFIG"' in _gate_step()["run"]


def test_no_input_is_pasted_into_a_script() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", "")


def test_gitlab_runs_the_gate_and_cannot_be_waved_through() -> None:
    (script,) = JOB["script"]
    assert 'deepsigns gate --config "$DEEPSIGNS_GATE_CONFIG"' in script
    assert JOB["allow_failure"] is False
    artifacts = JOB["artifacts"]
    assert artifacts["when"] == "always"
    assert artifacts["reports"]["junit"] in artifacts["paths"]


def test_both_templates_read_the_exit_codes_alike() -> None:
    (gitlab,) = JOB["script"]
    ours, theirs = ANSWERS.search(_gate_step()["run"]), ANSWERS.search(gitlab)
    assert ours is not None
    assert theirs is not None
    assert ours.group() == theirs.group()


@pytest.mark.parametrize("text", [str(ACTION), str(GITLAB)])
def test_only_the_base_package_and_no_secret(text: str) -> None:
    for word in ("[worker]", "[ray]", "[dev]", "torch", "unsealing", "sealing.key", "AGE-SECRET"):
        assert word not in text


def test_the_readme_lists_the_exit_codes_of_the_errors() -> None:
    page = (CI / "README.md").read_text()
    rows = dict(re.findall(r"^\| (\d) \| (\w+)", page, flags=re.MULTILINE))
    assert rows == {"0": "allowed", "1": "refused", "2": "usage", "3": "could", "4": "tampered"}
    kinds = (RefusedError, ConfigurationError, CouldNotCheckError, TamperedError)
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 4]


def _run_action(folder: Path, uri: str, config: str, path: str) -> tuple[int, dict[str, str], str]:
    """Runs the gate step as a runner does; gives exit code, outputs and log."""
    output = folder / "output"
    output.write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", _gate_step()["run"]],
        cwd=folder,
        env={
            "PATH": path,
            "RUNNER_TEMP": str(folder),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GATE_URI": uri,
            "GATE_CONFIG": config,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    lines = output.read_text().splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    return done.returncode, outputs, done.stdout + done.stderr


SYSTEM = "/usr/bin:/bin"
WITH_PACKAGE = f"{Path(sys.executable).parent}:{SYSTEM}"


GOLDEN = Path(__file__).parents[2] / "golden" / "attestation"
POLICY = """[policy]
keys = [{ public_key = "signer.pub.pem", may_sign = ["watermark"] }]
"""


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A folder with settings that trust the signer of the model in it."""
    shutil.copytree(GOLDEN / "model", tmp_path / "model")
    shutil.copy(GOLDEN / "signer.pub.pem", tmp_path)
    (tmp_path / "deepsigns.toml").write_text(POLICY)
    return tmp_path


def _commands(log: str) -> list[str]:
    """The lines that a runner takes for commands: none between a stop and its token."""
    found, token = [], ""
    for line in log.splitlines():
        text = line.lstrip()
        if token:
            token = "" if text == f"::{token}::" else token
        elif text.startswith("::stop-commands::"):
            token = text.removeprefix("::stop-commands::")
        elif text.startswith("::") or "##[" in text:
            found.append(text)
    assert not token
    return found


def test_a_wrong_configuration_fails_the_step_with_2(tmp_path: Path) -> None:
    code, outputs, log = _run_action(tmp_path, "models:/fraud@champion", "no.toml", WITH_PACKAGE)
    assert code == 2
    assert outputs["answer"] == "configuration"
    (annotation,) = _commands(log)
    assert annotation.startswith("::error title=deepsigns gate::configuration (exit code 2): ")
    assert "no such file; run: deepsigns init" in annotation
    summary = (tmp_path / "summary.md").read_text()
    assert "### deepsigns gate: configuration `models:/fraud@champion`" in summary
    assert "no such file" in summary


def test_a_policy_that_trusts_nobody_lets_nothing_through(tmp_path: Path) -> None:
    (tmp_path / "deepsigns.toml").write_text("")
    code, outputs, log = _run_action(
        tmp_path, "models:/fraud@champion", "deepsigns.toml", WITH_PACKAGE
    )
    assert (code, outputs["exit-code"]) == (2, "2")
    assert "trusts nobody" in log


def test_a_missing_command_is_no_answer(tmp_path: Path) -> None:
    for name in ("deepsigns-gate.json", "deepsigns-gate.md"):
        (tmp_path / name).write_text("allowed")
    code, outputs, log = _run_action(tmp_path, "models:/fraud@champion", "deepsigns.toml", SYSTEM)
    assert (code, outputs["answer"]) == (3, "could-not-check")
    assert "could-not-check (exit code 3)" in _commands(log)[0]
    assert "allowed" not in (tmp_path / "summary.md").read_text()


def test_a_yes_is_a_line_of_its_own(signed: Path) -> None:
    code, outputs, log = _run_action(signed, "./model", "deepsigns.toml", WITH_PACKAGE)
    assert (code, outputs["answer"]) == (0, "allowed")
    assert _commands(log) == ["::notice title=deepsigns gate::allowed: ./model"]
    assert "### deepsigns gate: allowed `./model`" in (signed / "summary.md").read_text()


@pytest.mark.parametrize(
    "uri",
    [
        '"; touch owned; $(touch owned) `touch owned`',
        "./x\n::set-output name=answer::allowed",
        "./x%0A::set-output name=answer::allowed",
        "##[set-output name=answer;]allowed",
        "--help",
        "--version",
        "--report=owned",
    ],
)
def test_a_name_cannot_add_commands(signed: Path, uri: str) -> None:
    code, outputs, log = _run_action(signed, uri, "deepsigns.toml", WITH_PACKAGE)
    assert code in {2, 3}
    assert outputs["answer"] in {"configuration", "could-not-check"}
    assert not (signed / "owned").exists()
    (annotation,) = _commands(log)
    assert annotation.startswith("::error title=deepsigns gate::")
    assert "%0A" not in annotation


def _run_gitlab(folder: Path, uri: str) -> tuple[int, str]:
    """Runs the job's script as a runner does; gives exit code and log."""
    (script,) = JOB["script"]
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env={
            "PATH": WITH_PACKAGE,
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "DEEPSIGNS_GATE_URI": uri,
            "DEEPSIGNS_GATE_CONFIG": "deepsigns.toml",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_gitlab_gets_results_of_tests(signed: Path) -> None:
    code, log = _run_gitlab(signed, "./model")
    assert code == 0
    assert "deepsigns gate: allowed (exit code 0)" in log
    assert 'failures="0" errors="0"' in (signed / "deepsigns-gate.xml").read_text()
    (signed / "model" / "added").write_text("")
    code, log = _run_gitlab(signed, "./model")
    assert code == 4
    assert "deepsigns gate: tampered (exit code 4)" in log
    assert '<failure type="tampered"' in (signed / "deepsigns-gate.xml").read_text()


def test_gitlab_installs_nothing_that_nobody_named(tmp_path: Path) -> None:
    assert JOB["variables"]["DEEPSIGNS_GATE_PACKAGE"] == ""
    done = subprocess.run(
        ["sh", "-e", "-c", JOB["before_script"][0]],
        cwd=tmp_path,
        env={"PATH": SYSTEM, "DEEPSIGNS_GATE_PACKAGE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "DEEPSIGNS_GATE_PACKAGE is not set" in done.stdout
