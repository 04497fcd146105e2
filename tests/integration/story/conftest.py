"""One demo for all tests of the command line: they go on from what it left, as a person would."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepsigns_registry.quiet import OPTED_OUT
from deepsigns_registry.registry.server import start_server
from tests.support import alone
from tests.support.patience import HANG
from tests.support.story import Deepsigns, Demo, Done

ALONE = Path(alone.__file__)
_OURS = ("DEEPSIGNS_", "MLFLOW_")


@pytest.fixture(scope="session")
def deepsigns() -> Deepsigns:
    """Runs the installed command in a folder."""

    def run(*arguments: str, folder: Path, **environment: str) -> Done:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        done = subprocess.run(
            [Path(sys.executable).with_name("deepsigns"), *arguments],
            cwd=folder,
            env=kept | {"MLFLOW_DISABLE_TELEMETRY": "true"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo on digits, played once, where nothing but this machine can be reached."""
    parent = tmp_path_factory.mktemp("story")
    program = str(Path(sys.executable).with_name("deepsigns"))
    kept = {name: value for name, value in os.environ.items() if name not in OPTED_OUT}
    done = subprocess.run(
        [sys.executable, str(ALONE), "--loopback", program, "demo", "--out", "demo"],
        cwd=parent,
        env={name: value for name, value in kept.items() if not name.startswith(_OURS)},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG,
    )
    found = json.loads(done.stdout)
    assert found["code"] == 0, found["out"] + found["err"]
    folder = parent / "demo"
    summary = json.loads((folder / "summary.json").read_text())
    return Demo(folder, summary, found["out"], found["counted"])


@pytest.fixture(scope="session")
def server(demo: Demo) -> Iterator[str]:
    """The demo's server, started again on its database, as the settings file tells."""
    with start_server(demo.folder / "mlflow", config=demo.folder / "deepsigns.toml") as running:
        yield running.uri
