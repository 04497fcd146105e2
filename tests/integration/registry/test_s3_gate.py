# mypy: allow-untyped-calls
"""The gate of a server whose model files are in S3: a real S3 server on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from mlflow.exceptions import MlflowException
from mlflow_deepsigns import open_store

from deepsigns_registry.registry.transitions import PromotionState

if TYPE_CHECKING:
    from mlflow_deepsigns.store import DeepSignsStore
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

ACCESS, SECRET = "server", "a-secret-of-the-server"
BUCKET = "models"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("s3")
    keys = [{"accessKey": ACCESS, "secretKey": SECRET}]
    actions = ["Admin", "Read", "List", "Write"]
    identities = [{"name": ACCESS, "credentials": keys, "actions": actions}]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    ports = dict(zip(("master", "volume", "filer", "s3"), free_ports(4), strict=True))
    command = [
        *(str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder / 'data'}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-filer", "-s3"),
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=20"),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
    try:
        yield f"http://127.0.0.1:{ports['s3']}"
    finally:
        server.kill()
        server.wait()


def free_ports(count: int) -> list[int]:
    """Ports whose neighbours 10000 above are free too: each server opens both."""
    held: list[socket.socket] = []
    ports: list[int] = []
    while len(ports) < count:
        pair = [socket.socket(), socket.socket()]
        held += pair
        pair[0].bind(("127.0.0.1", 0))
        port = int(pair[0].getsockname()[1])
        try:
            pair[1].bind(("127.0.0.1", port + 10_000))
        except (OSError, OverflowError):
            continue
        ports.append(port)
    for each in held:
        each.close()
    return ports


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.session.Session().client("s3", endpoint_url=endpoint)
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.3)
        else:
            return client


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
    (tmp_path / "model/MLmodel").write_text("flavors: {}\n")
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
