"""A deployment that is a version of MLflow's registry, read from its database without a server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deepsigns_registry.audit.targets import fetch
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import CouldNotCheckError, NotFoundError
from deepsigns_registry.registry.client import make_client

pytestmark = pytest.mark.integration

Audited = Callable[..., Settings]


@pytest.fixture(scope="module")
def registered(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`digits` with a marked version 1 and an empty version 2."""
    client = make_client(f"sqlite:///{home / 'mlflow.db'}")
    client.create_registered_model("digits")
    for name in ("marked.onnx", ""):
        folder = tmp_path_factory.mktemp("version")
        (folder / "MLmodel").write_text("flavors: {}\n")
        if name:
            (folder / "model.onnx").write_bytes((home / name).read_bytes())
        client.create_model_version("digits", source=str(folder))
    client.set_registered_model_alias("digits", "champion", "1")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("uri", ["models:/digits@champion", "models:/digits/1"])
def test_version_is_fetched(home: Path, audited: Audited, tmp_path: Path, uri: str) -> None:
    settings = audited(uri)
    copy = fetch(settings, settings.deployments[0], tmp_path)
    assert copy.read_bytes() == (home / "marked.onnx").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("uri", "kind", "message"),
    [
        ("models:/digits/2", CouldNotCheckError, "holds no ONNX file"),
        ("models:/digits@nobody", NotFoundError, "nobody"),
        ("models:/digits/9", NotFoundError, "digits"),
    ],
)
def test_what_is_not_there_is_one_clear_line(
    audited: Audited, tmp_path: Path, uri: str, kind: type[Exception], message: str
) -> None:
    settings = audited(uri)
    with pytest.raises(kind, match=message):
        fetch(settings, settings.deployments[0], tmp_path)
    assert list(tmp_path.iterdir()) == []
