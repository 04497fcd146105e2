"""Deployed files in S3, fetched from a real server."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deepsigns_registry.audit.targets import fetch
from deepsigns_registry.audit.targets.s3 import fetch as fetch_object
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.sections import Deployment
from tests.support.s3 import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

URI = "s3://deployments/fraud/a model.onnx"


@pytest.fixture(autouse=True)
def stored(s3: "S3Client") -> bytes:
    content = bytes(range(256)) * 12_000
    s3.put_object(Bucket="deployments", Key="fraud/a model.onnx", Body=content)
    return content


def test_object_is_copied_into_a_private_file(stored: bytes, tmp_path: Path) -> None:
    (tmp_path / "deepsigns.toml").write_text("")
    deployment = Deployment(name="fraud", model="fraud", target=URI)
    copy = fetch(load_settings(tmp_path / "deepsigns.toml"), deployment, tmp_path)
    assert copy.read_bytes() == stored
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://deployments/gone.onnx", "no such object"),
        ("s3://nowhere/model.onnx", "no such bucket"),
        ("s3://Not_A_Bucket!/model.onnx", "no valid bucket or key"),
    ],
)
def test_what_is_not_there_is_one_clear_line(uri: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CouldNotCheckError, match=message) as raised:
        fetch_object(uri, tmp_path / "copy")
    assert str(raised.value).startswith(uri)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "not-the-right-secret"}, "the secret key is wrong"),
        ({"AWS_ACCESS_KEY_ID": "not-a-user"}, "the access key is not known there"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}, "the S3 server cannot be reached"),
        ({"AWS_ENDPOINT_URL_S3": "no address"}, "AWS_ENDPOINT_URL_S3 is no address"),
    ],
)
def test_wrong_access_is_one_clear_line_without_the_secret(
    *,
    changes: dict[str, str | None],
    message: str,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(CouldNotCheckError, match=message) as raised:
        fetch_object(URI, tmp_path / "copy")
    said = f"{raised.value!r} {raised.value.__cause__} {caplog.text}"
    for secret in (object_store.secret_key, "not-the-right-secret"):
        assert secret not in said
    assert not (tmp_path / "copy").exists()


def test_object_over_the_limit_is_not_kept(stored: bytes, tmp_path: Path) -> None:
    with pytest.raises(CouldNotCheckError, match="larger than 1000 bytes"):
        fetch_object(URI, tmp_path / "copy", limit=1000)
    assert not (tmp_path / "copy").exists()
    assert fetch_object(URI, tmp_path / "copy", limit=len(stored)).stat().st_size == len(stored)
