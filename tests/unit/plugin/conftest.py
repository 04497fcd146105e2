# mypy: allow-untyped-calls
"""A store in this process, on a SQLite file, with plain folders as models."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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

from deepsigns_registry.attestation.bundle import write_bundles
from deepsigns_registry.attestation.digests import combined_digest, digest_folder
from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    Fidelity,
    Parent,
    WatermarkPredicate,
    watermark_statement,
)

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
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "weights").write_bytes(bytes(range(100)))
    return folder


@pytest.fixture
def attest_folder(keys: Path) -> Callable[[Path], None]:
    def attest(folder: Path) -> None:
        digests = digest_folder(folder)
        predicate = WatermarkPredicate(
            owner="0" * 64,
            marking="m1",
            request_id="r1",
            commitments={"whitebox": "1" * 64},
            commitment_index=1,
            manifest_root="2" * 64,
            parent=Parent(name="fraud", version="1", digest=combined_digest(digests)),
            bits=128,
            queries=400,
            fidelity=Fidelity(
                parent_accuracy=1.0, marked_accuracy=1.0, drop=0.0, interval=(0.0, 0.0)
            ),
            tool="deepsigns-registry/0.1.0",
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        statement = watermark_statement(digests, predicate)
        write_bundles(folder, statement, FileSigner(keys / "worker.pem"))

    return attest


@pytest.fixture
def attested(unmarked: Path, attest_folder: Callable[[Path], None]) -> Path:
    folder = unmarked.with_name("attested")
    shutil.copytree(unmarked, folder)
    attest_folder(folder)
    return folder
