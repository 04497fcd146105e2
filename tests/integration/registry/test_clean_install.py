"""A machine that runs only the MLflow server: the two wheels, and nothing that computes."""

import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.requests import status
from deepsigns_registry.registry.server import Server, start_server
from tests.support.patience import HANG

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
PLUGIN = REPOSITORY / "plugins/mlflow-deepsigns"

DISCOVER = """
import importlib.util, warnings
warnings.simplefilter("error", UserWarning)
from mlflow.tracking._model_registry.utils import _get_store_registry
print(_get_store_registry().get_store_builder("deepsigns:sqlite:///x.db").__module__)
print([name for name in ("torch", "onnx", "onnxruntime") if importlib.util.find_spec(name)])
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=HANG, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with both wheels and no extras."""
    folder = tmp_path_factory.mktemp("clean")
    wheels = folder / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, REPOSITORY, PLUGIN)
    venv.create(folder / "venv", with_pip=True)
    installed = folder / "venv/bin/python"
    constraints = REPOSITORY / "constraints.txt"
    install: list[str | Path] = ["-m", "pip", "install", "-q", "--no-compile", "-c", constraints]
    run(installed, *install, *sorted(wheels.glob("*.whl")))
    return installed


@pytest.fixture(scope="module")
def clean_server(python: Path, home: Path) -> Iterator[Server]:
    config = home / "deepsigns.toml"
    with start_server(home / "clean", config=config, artifacts="proxied", python=python) as running:
        yield running


def test_the_server_needs_no_torch_and_refuses_unmarked_versions(
    python: Path,
    clean_server: Server,
    register_in: Callable[[MlflowClient, str, Path], str],
    tmp_path: Path,
) -> None:
    assert run(python, "-c", DISCOVER).split("\n")[:2] == ["mlflow_deepsigns", "[]"]
    (tmp_path / "MLmodel").write_text("flavors:\n  pytorch:\n    model_data: data\n")
    client = make_client(clean_server.uri)
    version = register_in(client, "fraud", tmp_path)
    with pytest.raises(RestException, match="is queued") as caught:
        client.set_registered_model_alias("fraud", "champion", version)
    assert caught.value.get_http_status_code() == 409
    assert [request.alias for request in status(client, "fraud")] == ["champion"]
