"""One real MLflow server with the gate, and everyday models to register in it."""

from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.cli import main
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.server import Server, start_server
from tests.support.attested import sign_folder
from tests.support.environment import environment_kept
from tests.support.story import Deepsigns, Done

CONFIG = """[registry]
tracking_uri = "{uri}"
protected_aliases = ["champion"]

[policy]
keys = [{{ public_key = "keys/worker.pub.pem", may_sign = ["watermark", "command"] }}]
"""
LOADER = """from team_features import scale

class Model:
    def predict(self, data, params=None):
        return scale(data)

def _load_pyfunc(path):
    return Model()
"""

Register = Callable[[str, Path], str]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keys and the server's settings, in a folder whose name a shell would not leave alone."""
    folder = tmp_path_factory.mktemp("everyday") / "the team's $models"
    generate_signing_key(folder / "keys/worker.pem", folder / "keys/worker.pub.pem")
    (folder / "deepsigns.toml").write_text(CONFIG.format(uri="http://127.0.0.1:1"))
    with environment_kept():
        yield folder


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[Server]:
    """Its artifacts lie in a folder that clients read and write, as on a shared disk."""
    with start_server(home / "server", config=home / "deepsigns.toml") as running:
        (home / "deepsigns.toml").write_text(CONFIG.format(uri=running.uri))
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> MlflowClient:
    return make_client(server.uri)


@pytest.fixture(scope="session")
def register(client: MlflowClient) -> Register:
    """Registers a folder as the next version of a model, as training code does."""

    def make(name: str, folder: Path) -> str:
        try:
            client.create_registered_model(name)
        except Exception as error:
            if "RESOURCE_ALREADY_EXISTS" not in str(error):
                raise
        logged = client.create_logged_model("0", name="trained")
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        made = client.create_model_version(
            name, f"models:/{logged.model_id}", model_id=logged.model_id
        )
        return str(made.version)

    return make


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that may be a PyTorch model, with code of the team's own."""
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "code" / "team_features.py").write_text("def scale(x):\n    return x / 16\n")
    (folder / "code" / "team_loader.py").write_text(LOADER)
    (folder / "data" / "model.pt2").write_bytes(b"a program")
    flavours = {
        "pytorch": {"model_data": "data", "code": "code"},
        "python_function": {"loader_module": "team_loader", "code": "code"},
    }
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavours}))
    return folder


@pytest.fixture
def signed(model: Path, home: Path) -> Path:
    """The same, signed; nothing was really marked."""
    sign_folder(model, FileSigner(home / "keys/worker.pem"))
    return model


@pytest.fixture(scope="session")
def deepsigns(home: Path, server: Server) -> Deepsigns:
    """Runs the command in the folder of the settings; in this process, which has loaded MLflow."""
    del server

    def run(*arguments: str, folder: Path = home) -> Done:
        with chdir(folder):
            done = CliRunner().invoke(main, list(arguments), prog_name="deepsigns")
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return Done(done.exit_code, done.stdout, done.stderr)

    return run
