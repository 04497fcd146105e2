"""A real S3 server on loopback, for tests: SeaweedFS."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PATIENCE = 60.0


@dataclass(frozen=True)
class ObjectStore:
    """A running server and the credentials it accepts."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """The standard AWS variables that lead to it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> "S3Client":
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )


@contextmanager
def _running(folder: Path) -> Iterator[ObjectStore]:
    """Starts the server, waits until it answers, and ends it by its process id."""
    store = ObjectStore("", "auditor", "a-secret-that-must-never-be-printed")
    identity = {
        "name": "auditor",
        "credentials": [{"accessKey": store.access_key, "secretKey": store.secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    master, volume, filer, s3 = _free_ports(4)
    store = ObjectStore(f"http://127.0.0.1:{s3}", store.access_key, store.secret_key)
    command = [
        str(Path(sys.executable).parent / "weed"), "server", f"-dir={folder / 'data'}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
        f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
        "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}",
        "-master.volumeSizeLimitMB=64", "-volume.max=20",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
        try:
            _wait(store, server, folder / "log")
            yield store
        finally:
            # Its orderly end takes twenty seconds, and the data is thrown away anyway.
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The standard AWS variables that lead to a running server with a bucket `deployments`."""
    with _running(tmp_path_factory.mktemp("s3")) as store:
        yield store.environment()


@pytest.fixture
def s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """The environment of a process that may read the bucket, and a client to fill it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return boto3.session.Session().client("s3")


def _wait(store: ObjectStore, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            store.client().create_bucket(Bucket="deployments")
        except (BotoCoreError, ClientError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"the S3 server did not start:\n{log.read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    # Each server also opens a gRPC port 10000 above its own, so both must be free together.
    ports: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(ports) < count:
            low = socket.socket()
            held.append(low)
            low.bind(("127.0.0.1", 0))
            port = low.getsockname()[1]
            high = socket.socket()
            held.append(high)
            try:
                high.bind(("127.0.0.1", port + 10000))
            except (OSError, OverflowError):
                continue
            ports.append(port)
    finally:
        for entry in held:
            entry.close()
    return ports
