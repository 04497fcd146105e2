"""A real S3 server on loopback, for tests: SeaweedFS."""

import json
import os
import secrets
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
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.patience import HANG

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_STARTS = 5
# While it starts, whoever took its port may never answer.
_IMPATIENT = Config(connect_timeout=30, read_timeout=30, retries={"total_max_attempts": 1})
# Below the ports that the system hands out to connections; each server also opens a gRPC port
# 10000 above its own.
_PORTS = range(12_000, 22_000)


@dataclass(frozen=True)
class ObjectStore:
    """A running server and the credentials it accepts."""

    endpoint: str
    access_key: str
    secret_key: str

    def client(self, config: Config | None = None) -> "S3Client":
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=config,
        )

    def lead_here(self, monkeypatch: pytest.MonkeyPatch, *, endpoint_variable: str) -> None:
        """Leaves this server as the only one that the environment knows."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv(endpoint_variable, self.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", self.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", self.secret_key)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class _EndedEarlyError(Exception):
    """The server ended by itself: usually another process took one of its ports first."""


@contextmanager
def running_s3(folder: Path, bucket: str) -> Iterator[ObjectStore]:
    """Starts the server, makes a bucket as soon as it answers, and ends it by its process id."""
    for attempt in range(1, _STARTS + 1):
        tried = folder / f"start-{attempt}"
        (tried / "data").mkdir(parents=True)
        store, server = _start(tried)
        try:
            try:
                _wait(store, bucket, server, tried / "log")
            except _EndedEarlyError:
                if attempt == _STARTS:
                    raise
                continue
            yield store
            return
        finally:
            # Its orderly end takes twenty seconds, and the data is thrown away anyway.
            server.kill()
            server.wait()


def _start(folder: Path) -> "tuple[ObjectStore, subprocess.Popen[bytes]]":
    # No other server accepts them, so that none is taken for this one.
    access_key, secret_key = "tester", f"never-to-be-printed-{secrets.token_hex(16)}"
    identity = {
        "name": access_key,
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = secrets.SystemRandom().sample(_PORTS, 4)
    command = [
        str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder / 'data'}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
        f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
        "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}",
        # Two catalogues with ports of their own, the same for every server: a second would end.
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64", "-volume.max=20",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
    return ObjectStore(f"http://127.0.0.1:{s3}", access_key, secret_key), server


def _wait(store: ObjectStore, bucket: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    client = store.client(_IMPATIENT)
    made = client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou
    deadline = time.monotonic() + HANG
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise _EndedEarlyError(log.read_text()[-2000:])
        try:
            client.create_bucket(Bucket=bucket)
        except made:
            # Its first answer came too late.
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"the S3 server did not start:\n{log.read_text()[-2000:]}")
