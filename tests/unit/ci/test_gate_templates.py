"""The pipeline templates are well-formed and safe, and agree with each other and the README."""

import re
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
    assert 'deepsigns gate "$GATE_URI" --config "$GATE_CONFIG"' in _gate_step()["run"]


def test_no_input_is_pasted_into_a_script() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", "")


def test_gitlab_runs_the_gate_and_cannot_be_waved_through() -> None:
    (script,) = JOB["script"]
    assert 'deepsigns gate "$DEEPSIGNS_GATE_URI" --config "$DEEPSIGNS_GATE_CONFIG"' in script
    assert JOB["allow_failure"] is False
    assert JOB["artifacts"] == {"when": "always", "paths": ["deepsigns-gate.json"]}


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
            "GITHUB_OUTPUT": str(output),
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


def test_a_wrong_configuration_fails_the_step_with_2(tmp_path: Path) -> None:
    code, outputs, log = _run_action(tmp_path, "models:/fraud@champion", "no.toml", WITH_PACKAGE)
    assert code == 2
    assert outputs["answer"] == "configuration"
    assert "no such file" in log
    assert "::error title=deepsigns gate::configuration (exit code 2)" in log


def test_a_policy_that_trusts_nobody_lets_nothing_through(tmp_path: Path) -> None:
    (tmp_path / "deepsigns.toml").write_text("")
    code, outputs, log = _run_action(
        tmp_path, "models:/fraud@champion", "deepsigns.toml", WITH_PACKAGE
    )
    assert (code, outputs["exit-code"]) == (2, "2")
    assert "trusts nobody" in log


def test_a_missing_command_is_no_answer(tmp_path: Path) -> None:
    code, outputs, _ = _run_action(tmp_path, "models:/fraud@champion", "deepsigns.toml", SYSTEM)
    assert (code, outputs["answer"]) == (3, "could-not-check")


def test_a_name_cannot_add_commands(tmp_path: Path) -> None:
    uri = '"; touch owned; $(touch owned) `touch owned`'
    code, _, _ = _run_action(tmp_path, uri, "no.toml", WITH_PACKAGE)
    assert code == 2
    assert not (tmp_path / "owned").exists()
