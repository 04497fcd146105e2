"""One demo for all tests of the command line: they go on from what it left, as a person would."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepsigns_registry.registry.server import start_server
from tests.support.patience import HANG
from tests.support.story import Deepsigns, Demo, Done


@pytest.fixture(scope="session")
def deepsigns() -> Deepsigns:
    """Runs the installed command in a folder."""

    def run(*arguments: str, folder: Path, **environment: str) -> Done:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEEPSIGNS_", "MLFLOW_"))
        }
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
def demo(tmp_path_factory: pytest.TempPathFactory, deepsigns: Deepsigns) -> Demo:
    """The demo on digits, played once."""
    parent = tmp_path_factory.mktemp("story")
    done = deepsigns("demo", "--out", "demo", folder=parent)
    assert done.code == 0, done.out + done.err
    folder = parent / "demo"
    return Demo(folder, json.loads((folder / "summary.json").read_text()), done.out)


@pytest.fixture(scope="session")
def server(demo: Demo) -> Iterator[str]:
    """The demo's server, started again on its database, as the settings file tells."""
    with start_server(demo.folder / "mlflow", config=demo.folder / "deepsigns.toml") as running:
        yield running.uri
