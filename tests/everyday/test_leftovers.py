"""A version that was loaded, or looked at, is the version that was signed."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

from deepsigns_registry.registry.server import Server
from tests.everyday.conftest import Register
from tests.support.patience import HANG
from tests.support.story import Deepsigns

pytestmark = pytest.mark.deep

SERVICE = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
assert model.predict(16) == 1
"""


def place_of(client: MlflowClient, name: str, version: str) -> Path:
    uri = client.get_model_version_download_uri(name, version)
    return Path(unquote(urlparse(uri).path))


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def stored(
    client: MlflowClient, register: Register, signed: Path, request: pytest.FixtureRequest
) -> tuple[str, Path]:
    """A promoted version, and where its files lie."""
    name = request.node.name
    version = register(name, signed)
    client.set_registered_model_alias(name, "champion", version)
    return name, place_of(client, name, version)


def serve(server: Server, uri: str, *options: str) -> None:
    """Loads a model as any service does, with Python's habit of keeping byte code."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MLFLOW_T"))}
    # The packages are where this process has them, which need not be installed.
    kept["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    subprocess.run(
        [sys.executable, *options, "-c", SERVICE, server.uri, uri],
        env=kept,
        check=True,
        capture_output=True,
        timeout=HANG,
    )


def test_a_load_leaves_byte_code_and_changes_nothing(
    *,
    client: MlflowClient,
    server: Server,
    stored: tuple[str, Path],
    deepsigns: Deepsigns,
    tmp_path: Path,
) -> None:
    name, place = stored
    serve(server, f"models:/{name}@champion")
    assert list(place.rglob("*.pyc"))
    before = files_of(place)
    answer = deepsigns("gate", f"models:/{name}@champion", "--json").answer
    assert set(answer["ignored"].values()) == {"byte code of the signed source"}
    # What is delivered is what was signed, and our own reading leaves nothing in the store.
    out = tmp_path / "out"
    assert deepsigns("fetch", f"models:/{name}@champion", "--out", str(out)).code == 0
    assert not list(out.rglob("__pycache__"))
    assert deepsigns("gate", str(out), "--json").answer["ignored"] == {}
    assert files_of(place) == before
    # The server looks at the files where they lie.
    client.set_registered_model_alias(name, "champion", "1")


def test_byte_code_of_another_source_counts(
    client: MlflowClient, server: Server, stored: tuple[str, Path], deepsigns: Deepsigns
) -> None:
    name, place = stored
    serve(server, f"models:/{name}@champion")
    (cached,) = place.rglob("team_features.*.pyc")
    (other,) = place.rglob("team_loader.*.pyc")
    cached.write_bytes(other.read_bytes())
    done = deepsigns("gate", f"models:/{name}@champion")
    assert done.code == 4
    assert "byte code of something else than the signed source" in done.err
    assert "delete the __pycache__ folders of this version" in done.err
    with pytest.raises(
        RestException, match=r"byte code of something else.*; delete the __pycache__"
    ):
        client.set_registered_model_alias(name, "champion", "1")


def test_notes_of_a_file_manager_are_named(
    stored: tuple[str, Path], deepsigns: Deepsigns, home: Path, tmp_path: Path
) -> None:
    name, place = stored
    (place / "code" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    done = deepsigns("gate", f"models:/{name}@champion")
    assert done.code == 4
    assert '.DS_Store\' was added and is not signed; delete it, or set ignore = [".DS_Store"]' in (
        done.err
    )
    text = (home / "deepsigns.toml").read_text().replace("keys/", f"{home}/keys/")
    (tmp_path / "ignoring.toml").write_text(
        text.replace("[policy]", '[policy]\nignore = [".DS_Store"]')
    )
    config = str(tmp_path / "ignoring.toml")
    done = deepsigns("gate", f"models:/{name}@champion", "--config", config)
    assert done.code == 0, done.err
    assert "ignored code/.DS_Store: the policy ignores .DS_Store" in done.out
