"""Servers that do not start, and one without the plugin."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, NotFoundError
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.protocol import PromotionRequest
from deepsigns_registry.registry.requests import claim
from deepsigns_registry.registry.server import start_server
from tests.support.patience import HANG

pytestmark = pytest.mark.integration


def test_a_server_that_dies_shows_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    backend = f"sqlite:///{tmp_path}/file/mlflow.db"
    with (
        pytest.raises(CouldNotCheckError, match=r"ended with status \d+: .*File exists"),
        start_server(tmp_path, config=None, backend_uri=backend, patience=HANG),
    ):
        pass


def test_a_server_that_is_too_slow_is_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(CouldNotCheckError, match="did not answer within 0 s"),
        start_server(tmp_path, config=None, patience=0.2),
    ):
        pass


def test_a_server_without_the_plugin_is_found_out(
    tmp_path: Path,
    signer: FileSigner,
    register_in: Callable[[MlflowClient, str, Path], str],
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/MLmodel").write_text("flavors:\n  pytorch:\n    model_data: data\n")
    with start_server(tmp_path / "server", config=None, gated=False) as server:
        client = make_client(server.uri)
        version = register_in(client, "fraud", tmp_path / "model")
        request = PromotionRequest(
            id="r", alias="champion", model="fraud", version=version, requested_at=0
        )
        with pytest.raises(ConfigurationError, match="runs without the deepsigns plugin"):
            claim(client, request, signer, worker="w", ttl=60)
        assert client.get_model_version("fraud", version).tags == {}
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)


def test_reading_does_not_make_an_empty_database(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such database"):
        make_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigurationError, match="cannot be opened here"):
        make_client("gopher://x")
