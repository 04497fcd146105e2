from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.support.s3 import ObjectStore, running_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A running server with a bucket `deployments`."""
    with running_s3(tmp_path_factory.mktemp("s3"), "deployments") as store:
        yield store


@pytest.fixture
def s3(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """The environment of a process that may read the bucket, and a client to fill it."""
    object_store.lead_here(monkeypatch, endpoint_variable="AWS_ENDPOINT_URL_S3")
    return boto3.session.Session().client("s3")
