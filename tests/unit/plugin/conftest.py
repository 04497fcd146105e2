# mypy: allow-untyped-calls
"""A store in this process, on a SQLite file, with plain folders as models."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow_deepsigns import open_store

if TYPE_CHECKING:
    from mlflow_deepsigns.store import DeepSignsStore

with warnings.catch_warnings():
    # MLflow warns of its own use of SQLAlchemy, once, when it is imported.
    warnings.simplefilter("ignore")
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.signing import FileSigner
from tests.support.attested import sign_folder

CONFIG = """
[registry]
protected_aliases = ["champion"]
protected_models = ["prod-*"]

[[policy.keys]]
public_key = "file:worker.pub.pem"
may_sign = ["watermark", "command"]
"""


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    generate_signing_key(folder / "worker.pem", folder / "worker.pub.pem")
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: the migrations take seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    open_store(f"deepsigns:sqlite:///{path}")._dispose_engine()
    return path


@pytest.fixture
def config(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for key in keys.iterdir():
        shutil.copy(key, tmp_path)
    path = tmp_path / "deepsigns.toml"
    path.write_text(CONFIG)
    monkeypatch.setenv("DEEPSIGNS_CONFIG", str(path))
    return path


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def store(config: Path, database: str) -> "Iterator[DeepSignsStore]":
    assert config.exists()
    opened = open_store(f"deepsigns:{database}")
    yield opened
    opened._dispose_engine()


@pytest.fixture
def unmarked(tmp_path: Path) -> Path:
    folder = tmp_path / "unmarked"
    folder.mkdir()
    (folder / "data").mkdir()
    (folder / "data/model.pt2").write_bytes(b"program")
    (folder / "MLmodel").write_text("flavors:\n  pytorch:\n    model_data: data\n")
    (folder / "weights").write_bytes(bytes(range(100)))
    return folder


@pytest.fixture
def attest_folder(keys: Path) -> Callable[[Path], None]:
    def attest(folder: Path) -> None:
        sign_folder(folder, FileSigner(keys / "worker.pem"))

    return attest


@pytest.fixture
def attested(unmarked: Path, attest_folder: Callable[[Path], None]) -> Path:
    folder = unmarked.with_name("attested")
    shutil.copytree(unmarked, folder)
    attest_folder(folder)
    return folder
