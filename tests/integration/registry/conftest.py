"""One real MLflow server with the gate for the whole session, and models to register in it."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.registry.assemble import assemble
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.server import Server, start_server
from tests.support.attested import sign_folder
from tests.support.environment import environment_kept

with warnings.catch_warnings():
    # MLflow warns of its own use of SQLAlchemy, once, when it is imported.
    warnings.simplefilter("ignore")
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

CONFIG = """
[registry]
tracking_uri = "{uri}"
protected_aliases = ["champion", "blue"]
protected_models = ["prod-*"]

[[policy.keys]]
public_key = "file:keys/worker.pub.pem"
may_sign = ["watermark", "command"]

[[policy.keys]]
public_key = "file:keys/marks.pub.pem"
may_sign = ["watermark"]
"""

Register = Callable[[str, Path], str]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with keys and the server's settings."""
    folder = tmp_path_factory.mktemp("deepsigns")
    for name in ("worker", "marks", "stranger"):
        generate_signing_key(folder / f"keys/{name}.pem", folder / f"keys/{name}.pub.pem")
    (folder / "deepsigns.toml").write_text(CONFIG.format(uri="http://127.0.0.1:1"))
    with environment_kept():
        yield folder


@pytest.fixture(scope="session")
def signer(home: Path) -> FileSigner:
    return FileSigner(home / "keys/worker.pem")


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[Server]:
    """Serves artifacts through itself."""
    config = home / "deepsigns.toml"
    with start_server(home / "server", config=config, artifacts="proxied") as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> MlflowClient:
    return make_client(server.uri)


@pytest.fixture(scope="session")
def settings(home: Path, server: Server) -> Settings:
    """What a person beside the server has."""
    path = home / "client.toml"
    path.write_text(CONFIG.format(uri=server.uri))
    return load_settings(path)


@pytest.fixture(scope="session")
def plain_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unmarked model, saved by MLflow as pt2."""
    import mlflow.pytorch
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    folder = tmp_path_factory.mktemp("models") / "plain"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
        mlflow.pytorch.save_model(
            model.eval(), str(folder), input_example=example, pip_requirements=["torch==2.13.0"]
        )
    return folder


@pytest.fixture(scope="session")
def assembled_model(plain_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an ONNX flavour, as the worker leaves it before signing."""
    import torch

    folder = tmp_path_factory.mktemp("models")
    program = torch.export.load(str(plain_model / "data/model.pt2"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None
    exported.save(str(folder / "made.onnx"), external_data=False)
    marked = folder / "made.pt2"
    torch.export.save(program, str(marked))
    assemble(plain_model, marked, folder / "made.onnx", folder / "assembled")
    return folder / "assembled"


@pytest.fixture(scope="session")
def attest_folder(home: Path) -> Callable[..., None]:
    """Signs a finished folder; nothing was really marked, but every signature is real."""

    def attest(folder: Path, *, key: str = "marks") -> None:
        sign_folder(folder, FileSigner(home / f"keys/{key}.pem"))

    return attest


@pytest.fixture(scope="session")
def attested_model(assembled_model: Path, attest_folder: Callable[..., None]) -> Path:
    folder = assembled_model.with_name("attested")
    shutil.copytree(assembled_model, folder)
    attest_folder(folder)
    return folder


@pytest.fixture
def name() -> str:
    """A model name that no other test uses."""
    return f"m-{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def register(client: MlflowClient) -> Register:
    """Registers a folder as the next version of a model, as training code does."""

    def make(model: str, folder: Path) -> str:
        return register_with(client, model, folder)

    return make


@pytest.fixture(scope="session")
def register_in() -> Callable[[MlflowClient, str, Path], str]:
    """The same in any server."""
    return register_with


def register_with(client: MlflowClient, model: str, folder: Path) -> str:
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    logged = client.create_logged_model("0", name="trained")
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    created = client.create_model_version(
        model, f"models:/{logged.model_id}", model_id=logged.model_id
    )
    return str(created.version)
