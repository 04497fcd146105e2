"""A deployed file in S3, or in anything that speaks its protocol.

Credentials, region and endpoint come from the standard AWS environment
(`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_S3`, ...); none of them ever enters an error message.
"""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.audit.targets.limit import CHUNK, SIZE_LIMIT, too_large, write_limited
from deepsigns_registry.errors import CouldNotCheckError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["fetch"]

_ANSWERS = {
    "NoSuchKey": ("no such object", "check the deployment's target in deepsigns.toml"),
    "404": ("no such object", "check the deployment's target in deepsigns.toml"),
    "NoSuchBucket": ("no such bucket", "check the deployment's target in deepsigns.toml"),
    "AccessDenied": ("access denied", "give these credentials s3:GetObject on the object"),
    "403": ("access denied", "give these credentials s3:GetObject on the object"),
    "InvalidAccessKeyId": ("the access key is not known there", "check AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": ("the secret key is wrong", "check AWS_SECRET_ACCESS_KEY"),
    "ExpiredToken": ("the credentials have expired", "renew them"),
}


def fetch(uri: str, copy: Path, *, limit: int = SIZE_LIMIT) -> Path:
    """Streams one object to a new file.

    Args:
        uri: `s3://bucket/key`.
        copy: The file to make.
        limit: Bytes at most; the stream is cut there whatever length it announced.

    Raises:
        CouldNotCheckError: The object is gone or too large, the credentials are missing or
            wrong, or the server cannot be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        answer = _client().get_object(Bucket=bucket, Key=key)
        with closing(answer["Body"]) as body:
            if answer["ContentLength"] > limit:
                raise too_large(uri, limit)
            return write_limited(body.iter_chunks(CHUNK), copy, name=uri, limit=limit)
    except ClientError as error:
        raise _refused(uri, error.response.get("Error", {}).get("Code", "")) from None
    except BotoCoreError as error:
        raise _unreachable(uri, error) from None
    except ValueError:
        raise CouldNotCheckError(
            f"{uri}: AWS_ENDPOINT_URL_S3 is no address", advice="write http://host:port"
        ) from None


def _client() -> "S3Client":
    import boto3
    from botocore.config import Config

    # Three tries over a few seconds: a scheduled audit is tried again later anyway.
    patience = Config(
        connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 3}
    )
    return boto3.session.Session().client("s3", config=patience)


def _refused(uri: str, code: str) -> CouldNotCheckError:
    what, advice = _ANSWERS.get(code, (f"the server refused ({code or 'no reason given'})", ""))
    return CouldNotCheckError(f"{uri}: {what}", advice=advice)


def _unreachable(uri: str, error: Exception) -> CouldNotCheckError:
    from botocore.exceptions import ConnectionError as S3ConnectionError
    from botocore.exceptions import (
        HTTPClientError,
        NoCredentialsError,
        NoRegionError,
        ParamValidationError,
        PartialCredentialsError,
        SSLError,
    )

    # The library's own text may quote a signed request, so only its kind is passed on.
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return CouldNotCheckError(
            f"{uri}: no AWS credentials", advice="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, ParamValidationError):
        return CouldNotCheckError(
            f"{uri}: no valid bucket or key", advice="write s3://bucket/key in deepsigns.toml"
        )
    if isinstance(error, NoRegionError):
        return CouldNotCheckError(f"{uri}: no AWS region", advice="set AWS_DEFAULT_REGION")
    if isinstance(error, SSLError):
        return CouldNotCheckError(
            f"{uri}: the S3 server's certificate is not accepted",
            advice="set AWS_CA_BUNDLE to the certificate of its authority",
        )
    if isinstance(error, S3ConnectionError | HTTPClientError):
        return CouldNotCheckError(
            f"{uri}: the S3 server cannot be reached ({type(error).__name__})",
            advice="check the network and AWS_ENDPOINT_URL_S3",
        )
    return CouldNotCheckError(f"{uri}: cannot be fetched ({type(error).__name__})")
