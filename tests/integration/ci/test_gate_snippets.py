"""The scripts of the pipeline templates against a real registry with real signatures."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.signing import FileSigner
from tests.support.attested import sign_folder

pytestmark = [
    pytest.mark.integration,
    # MLflow's own queries, in the fixture that fills the registry.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

CI = Path(__file__).parents[3] / "ci"
ACTION: dict[str, Any] = yaml.safe_load((CI / "github" / "action.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((CI / "gitlab" / "deepsigns-gate.yml").read_text())


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Path]:
    """A pipeline's checkout: settings, public key, and a registry with three versions."""
    with TemporaryDirectory() as name:
        base = Path(name)
        generate_signing_key(base / "keys" / "worker.pem", base / "worker.pub.pem")
        signer = FileSigner(base / "keys" / "worker.pem")
        (base / "deepsigns.toml").write_text(
            '[registry]\ntracking_uri = "sqlite:///mlflow.db"\n'
            '[[policy.keys]]\npublic_key = "worker.pub.pem"\nmay_sign = ["watermark"]\n'
        )
        (base / "down.toml").write_text(
            '[registry]\ntracking_uri = "http://127.0.0.1:9"\n'
            '[[policy.keys]]\npublic_key = "worker.pub.pem"\nmay_sign = ["watermark"]\n'
        )
        client = MlflowClient(f"sqlite:///{base / 'mlflow.db'}")
        client.create_registered_model("fraud")
        for kind in ("unmarked", "marked", "tampered"):
            folder = base / "store" / kind
            folder.mkdir(parents=True)
            (folder / "MLmodel").write_text("flavors: {}\n")
            if kind != "unmarked":
                sign_folder(folder, signer)
            if kind == "tampered":
                (folder / "MLmodel").write_text("flavors: []\n")
            client.create_model_version("fraud", str(folder))
        client.set_registered_model_alias("fraud", "champion", "2")
        yield base


def _environment(**more: str) -> dict[str, str]:
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "OMP_NUM_THREADS": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), **quick, **more}


@pytest.mark.parametrize(
    ("uri", "config", "expected"),
    [
        ("models:/fraud@champion", "deepsigns.toml", (0, "allowed")),
        ("models:/fraud@champion", "down.toml", (3, "could-not-check")),
        ("models:/fraud/3", "deepsigns.toml", (4, "tampered")),
    ],
)
def test_the_github_step_hands_every_answer_on(
    pipeline: Path, tmp_path: Path, uri: str, config: str, expected: tuple[int, str]
) -> None:
    step = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "gate")
    output = tmp_path / "output"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=pipeline,
        env=_environment(
            RUNNER_TEMP=str(tmp_path),
            GITHUB_OUTPUT=str(output),
            GATE_URI=uri,
            GATE_CONFIG=config,
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    code, answer = expected
    assert done.returncode == code, done.stdout + done.stderr
    assert f"exit-code={code}\nanswer={answer}\n" in output.read_text()
    report = json.loads((tmp_path / "deepsigns-gate.json").read_text())
    assert report["exit_code"] == code
    assert (report["error"] is None) == (code == 0)


def test_the_gitlab_job_hands_the_answer_on(pipeline: Path) -> None:
    job = GITLAB[".deepsigns-gate"]
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", job["script"][0]],
        cwd=pipeline,
        env=_environment(**job["variables"] | {"DEEPSIGNS_GATE_URI": "models:/fraud/1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "deepsigns gate: refused (exit code 1)" in done.stdout
    assert (pipeline / "deepsigns-gate.json").exists()
