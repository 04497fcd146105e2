"""A fresh virtual environment: first without extras, then with the light one."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import click
import pytest

from deepsigns_registry.cli import main
from deepsigns_registry.cli.extras import ExtraCommand
from tests.support.lacking import ROOT
from tests.support.patience import HANG

pytestmark = pytest.mark.integration

EVIDENCE = ROOT / "tests/golden/evidence/v2"
LINES = {
    "check": ["m/1"],
    "demo": ["--out", "demo"],
    "up": ["--dir", "trial"],
    "verify": ["file.onnx"],
    "worker": ["--once"],
    "audit run": [],
    "audit run-due": [],
    "evidence export": ["file.onnx", "--out", "evidence.zip"],
    "evidence verify": [
        str(EVIDENCE / "evidence.zip"), str(EVIDENCE / "suspect.onnx"),
        "--public-key", str(EVIDENCE / "signer.pub.pem"),
        "--attestation", str(EVIDENCE / "known.sigstore.json"),
    ],
}  # fmt: skip
"""What the commands that need an extra are called with."""


def run(*command: str | Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    # What this checkout's own tests import from must not help out.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        cwd=cwd,
        env=kept,
    )


def install(python: Path, *what: str | Path) -> None:
    quiet: list[str | Path] = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-compile",
        "-c",
        ROOT / "constraints.txt",
    ]
    done = run(python, *quiet, *what)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment without extras."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    install(folder / "bin/python", wheel)
    return folder / "bin/python"


def needing(group: click.Group, *names: str) -> dict[str, str]:
    """The extra of each command that needs one."""
    found: dict[str, str] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= needing(command, *names, name)
        elif isinstance(command, ExtraCommand):
            found[" ".join((*names, name))] = command.extra
    return found


def test_every_command_says_what_it_lacks_then_the_light_extra_suffices(
    python: Path, wheel: Path, tmp_path: Path
) -> None:
    extras = needing(main)
    assert extras.keys() == LINES.keys()
    deepsigns = python.with_name("deepsigns")
    for name, extra in extras.items():
        done = run(deepsigns, *name.split(), *LINES[name], cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert f"'deepsigns-registry[{extra}]'" in done.stderr
    install(python, f"{wheel}[verify]")
    done = run(deepsigns, "evidence", "verify", *LINES["evidence verify"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\npresent: " in done.stdout
    assert run(python, "-c", "import torch").returncode == 1
    done = run(deepsigns, "worker", "--once", cwd=tmp_path)
    assert done.returncode == 2
    assert "needs torch" in done.stderr
