# mypy: allow-untyped-calls
"""The gate of a server whose model files are in S3: a real S3 server on loopback."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow.exceptions import MlflowException
from mlflow_deepsigns import open_store

from deepsigns_registry.registry.transitions import PromotionState
from tests.support.s3 import ObjectStore, running_s3

if TYPE_CHECKING:
    from mlflow_deepsigns.store import DeepSignsStore
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

BUCKET = "models"


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as store:
        yield store


@pytest.fixture
def s3(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """The environment of a server that finds S3 as MLflow does, and a client to fill the bucket."""
    object_store.lead_here(monkeypatch, endpoint_variable="MLFLOW_S3_ENDPOINT_URL")
    return object_store.client()


@pytest.fixture
def store(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[DeepSignsStore]":
    monkeypatch.setenv("DEEPSIGNS_CONFIG", str(home / "deepsigns.toml"))
    opened = open_store(f"deepsigns:sqlite:///{tmp_path / 'mlflow.db'}")
    opened.create_registered_model("fraud")
    yield opened
    opened._dispose_engine()


def upload(s3: "S3Client", folder: Path, prefix: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder).as_posix()}")
    return f"s3://{BUCKET}/{prefix}"


def test_files_in_s3_are_verified_by_their_bytes(
    s3: "S3Client",
    store: "DeepSignsStore",
    tmp_path: Path,
    attest_folder: Callable[[Path], None],
) -> None:
    (tmp_path / "model/data").mkdir(parents=True)
    (tmp_path / "model/MLmodel").write_text("flavors:\n  pytorch:\n    model_data: data\n")
    (tmp_path / "model/data/model.pt2").write_bytes(b"not looked into")
    (tmp_path / "model/data/weights").write_bytes(bytes(1000))
    unmarked = upload(s3, tmp_path / "model", "unmarked")
    shutil.copytree(tmp_path / "model", tmp_path / "marked")
    attest_folder(tmp_path / "marked")
    marked = upload(s3, tmp_path / "marked", "marked")
    for source in (unmarked, marked, f"s3://{BUCKET}/nothing"):
        store.create_model_version("fraud", source)

    with pytest.raises(MlflowException, match="is queued") as caught:
        store.set_registered_model_alias("fraud", "champion", "1")
    assert caught.value.error_code == "RESOURCE_CONFLICT"
    store.set_registered_model_alias("fraud", "champion", "2")
    with pytest.raises(MlflowException, match=r"does not answer: .*no model files") as caught:
        store.set_registered_model_alias("fraud", "champion", "3")
    assert caught.value.error_code == "PERMISSION_DENIED"

    s3.put_object(Bucket=BUCKET, Key="marked/data/weights", Body=b"other")
    with pytest.raises(MlflowException, match=r"\[deepsigns:tampered\].*was changed"):
        store.set_registered_model_alias("fraud", "blue", "2")
    state = PromotionState.from_tags(store.get_model_version("fraud", "1").tags)
    assert state.requests["champion"].detail == "alias set to version 2"
    assert str(store.get_model_version_by_alias("fraud", "champion").version) == "2"
