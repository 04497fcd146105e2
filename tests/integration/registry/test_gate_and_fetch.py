"""`gate`, `fetch`, `resolve` and `register_marked` against real servers and a bare database."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.digests import digest_folder
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    NotFoundError,
    RefusedError,
    TamperedError,
)
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.fetch import fetch
from deepsigns_registry.registry.gate import gate
from deepsigns_registry.registry.server import Server, start_server
from deepsigns_registry.registry.versions import download_version, register_marked, resolve

pytestmark = pytest.mark.integration

Register = Callable[[str, Path], str]


def weights_of(server: Server, client: MlflowClient, name: str, version: str) -> Path:
    model_id = str(client.get_model_version(name, version).source).removeprefix("models:/")
    folder = server.log.parent / "artifacts/0/models" / model_id
    return folder / "artifacts/data/model.pt2"


def flip_last_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_the_gate_lets_attested_bytes_through_and_fetch_delivers_them(
    *,
    client: MlflowClient,
    settings: Settings,
    register: Register,
    attested_model: Path,
    tmp_path: Path,
    name: str,
) -> None:
    version = register(name, attested_model)
    client.set_registered_model_alias(name, "champion", version)
    result = gate(settings, f"models:/{name}@champion")
    assert (result.ref.version, result.ref.alias) == (version, "champion")
    assert result.attestation.digests == digest_folder(attested_model)

    seen: list[float] = []
    out = tmp_path / "deep" / "model"
    fetch(settings, f"{name}/{version}", out, progress=lambda share, _word: seen.append(share))
    assert digest_folder(out) == digest_folder(attested_model)
    assert not (out / "registered_model_meta").exists()
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert [entry.name for entry in out.parent.iterdir()] == ["model"]
    with pytest.raises(CouldNotCheckError, match="cannot be written"):
        fetch(settings, f"{name}/{version}", out / "MLmodel" / "below-a-file")
    with pytest.raises(ConfigurationError, match="exists already"):
        fetch(settings, f"{name}/{version}", out)


def test_unmarked_and_changed_versions_are_told_apart_and_nothing_is_left(
    *,
    server: Server,
    client: MlflowClient,
    settings: Settings,
    register: Register,
    plain_model: Path,
    attested_model: Path,
    tmp_path: Path,
    name: str,
) -> None:
    unmarked, marked = register(name, plain_model), register(name, attested_model)
    flip_last_byte(weights_of(server, client, name, marked))
    with pytest.raises(RefusedError, match=f"{name}/{unmarked} has no watermark attestation"):
        gate(settings, f"{name}/{unmarked}")
    with pytest.raises(TamperedError, match=f"{name}/{marked}: .*model.pt2.* was changed"):
        gate(settings, f"{name}/{marked}")
    for version, error in ((unmarked, RefusedError), (marked, TamperedError)):
        with pytest.raises(error, match=name):
            fetch(settings, f"{name}/{version}", tmp_path / "deep/er/out")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_exist_is_one_clear_line(
    client: MlflowClient, settings: Settings, register: Register, plain_model: Path, name: str
) -> None:
    register(name, plain_model)
    for uri, message in (
        ("models:/no-such-model/1", r"Model Version \(name=no-such-model, version=1\) not found"),
        (f"models:/{name}/9", rf"Model Version \(name={name}, version=9\) not found"),
        (f"models:/{name}@nobody", "Registered model alias nobody not found"),
        ("models:/no-such-model@champion", "Registered Model with name=no-such-model not found"),
    ):
        with pytest.raises(NotFoundError, match=message) as caught:
            gate(settings, uri, client=client)
        assert "\n" not in str(caught.value)
    for uri in ("models:/x/y/z", name, f"models:/{name}/{'9' * 23}", f"models:/{name}@bad alias!"):
        with pytest.raises(ConfigurationError, match="names no model version"):
            gate(settings, uri, client=client)
    with pytest.raises(NotFoundError, match="not found"):
        gate(settings, f"models:/{name}/{'9' * 9}", client=client)
    with pytest.raises(NotFoundError, match="alias v1 not found"):
        gate(settings, f"models:/{name}@v1", client=client)


def test_a_server_that_is_down_is_could_not_check(home: Path, tmp_path: Path) -> None:
    settings = load_settings(home / "deepsigns.toml")
    with pytest.raises(CouldNotCheckError, match="does not answer"):
        gate(settings, "models:/fraud@champion")
    with pytest.raises(CouldNotCheckError, match="does not answer"):
        fetch(settings, "models:/fraud@champion", tmp_path / "out")


def test_a_marked_version_keeps_what_its_source_had(
    *,
    server: Server,
    client: MlflowClient,
    register: Register,
    plain_model: Path,
    attested_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    import mlflow.onnx
    import mlflow.pytorch

    register(name, plain_model)
    run = client.create_run("0")
    logged = client.create_logged_model("0", name="trained", source_run_id=run.info.run_id)
    client.log_model_artifacts(logged.model_id, str(plain_model))
    client.finalize_logged_model(logged.model_id, "READY")
    first = client.create_model_version(
        name,
        f"models:/{logged.model_id}",
        run_id=run.info.run_id,
        model_id=logged.model_id,
        tags={"team": "risk"},
        description="the fraud model",
    )
    ref = resolve(client, f"models:/{name}/{first.version}")
    marked = register_marked(client, ref, attested_model, tags={"marked": "yes"})
    assert marked.version == str(int(ref.version) + 1)
    assert marked.tags == {"team": "risk", "marked": "yes"}
    assert marked.description == "the fraud model"
    assert marked.run_id == run.info.run_id
    assert marked.model_id != ref.model_id
    client.set_registered_model_alias(name, "champion", marked.version)

    # As on a person's machine: one variable, and nothing set in the process.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    monkeypatch.setattr("mlflow.tracking._model_registry.utils._registry_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    inputs = np.zeros((2, 8), np.float32)
    program = mlflow.pytorch.load_model(f"models:/{name}@champion")
    import torch

    expected = program(torch.from_numpy(inputs)).detach().numpy()
    proto = mlflow.onnx.load_model(f"models:/{name}@champion")
    import onnxruntime

    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    [given] = session.run(None, {session.get_inputs()[0].name: inputs})
    np.testing.assert_allclose(given, expected, atol=1e-6)
    wrapped = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    np.testing.assert_allclose(wrapped.predict(inputs), expected, atol=1e-6)


@pytest.fixture(scope="module")
def local_server(home: Path) -> Iterator[Server]:
    """Keeps artifacts as plain local files, like the demo."""
    folder = home / "local-server"
    with start_server(folder, config=home / "deepsigns.toml", artifacts="local") as running:
        yield running


def test_reading_works_with_the_database_alone(
    *,
    home: Path,
    local_server: Server,
    register_in: Callable[[MlflowClient, str, Path], str],
    plain_model: Path,
    attested_model: Path,
    tmp_path: Path,
    name: str,
) -> None:
    online = make_client(local_server.uri)
    unmarked = register_in(online, name, plain_model)
    marked = register_in(online, name, attested_model)
    online.set_registered_model_alias(name, "champion", marked)

    path = home / "offline.toml"
    text = (home / "deepsigns.toml").read_text()
    path.write_text(text.replace("http://127.0.0.1:1", "sqlite:///local-server/mlflow.db"))
    offline = load_settings(path)
    assert gate(offline, f"models:/{name}@champion").ref.version == marked
    fetch(offline, f"models:/{name}@champion", tmp_path / "out")
    assert digest_folder(tmp_path / "out") == digest_folder(attested_model)
    with pytest.raises(RefusedError, match="no watermark attestation"):
        gate(offline, f"{name}/{unmarked}")
    with pytest.raises(NotFoundError, match="nobody not found"):
        gate(offline, f"models:/{name}@nobody")


def test_proxied_artifacts_need_the_server(
    *,
    server: Server,
    client: MlflowClient,
    register: Register,
    plain_model: Path,
    tmp_path: Path,
    name: str,
) -> None:
    version = register(name, plain_model)
    reader = make_client(server.database)
    ref = resolve(reader, f"{name}/{version}")
    with pytest.raises(CouldNotCheckError, match="served by an MLflow server"):
        download_version(reader, ref, tmp_path / "out")
    folder = weights_of(server, client, name, version).parent.parent
    shutil.rmtree(folder)
    with pytest.raises(CouldNotCheckError, match=f"files of {name}/{version}|has no files"):
        download_version(client, ref, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
