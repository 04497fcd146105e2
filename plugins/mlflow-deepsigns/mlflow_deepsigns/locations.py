# mypy: allow-untyped-calls, no-warn-return-any
"""Where the files of a model version are, as the server itself can read them.

Clients follow a location through the server (`mlflow-artifacts:`); the server goes straight to
its artifact destination. A location that a client would take somewhere else than the server looks
(another host, an encoded path) is refused: other bytes would be served than were verified.
"""

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

from mlflow.exceptions import MlflowException
from mlflow.server.constants import ARTIFACTS_DESTINATION_ENV_VAR
from mlflow.server.handlers import _get_workspace_scoped_repo_path_if_enabled
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from deepsigns_registry.attestation.digests import BUNDLE_FOLDER
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.errors import CouldNotCheckError, RefusedError

__all__ = ["concrete", "local_folder", "private_copy"]

PROXIED = "mlflow-artifacts"
# Places that MLflow resolves through yet another server or a run; their bytes are not ours to see.
INDIRECT = frozenset({"http", "https", "runs", "models", "dbfs", "ftp"})


def concrete(location: str) -> str:
    """Resolves a proxied location to the server's artifact destination.

    Args:
        location: Storage location of a model version.

    Returns:
        A path or URI that the server reads directly.

    Raises:
        CouldNotCheckError: A client would read it from another place than the server.
    """
    parsed = urlparse(location)
    if parsed.scheme in INDIRECT:
        raise CouldNotCheckError(
            f"model files at a {parsed.scheme}: address cannot be verified by the server",
            advice="log the model with MLflow and register that",
        )
    if parsed.scheme != PROXIED:
        return location
    if parsed.netloc:
        raise CouldNotCheckError(
            f"model files at {PROXIED}://{parsed.netloc} may be on another server",
            advice=f"register a {PROXIED}:/ location without a host",
        )
    path = parsed.path.strip("/")
    odd = parsed.query or parsed.fragment or parsed.params or any(sign in path for sign in "%\\")
    if odd or not path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise CouldNotCheckError(
            f"{location}: not a plain {PROXIED}:/ path",
            advice="log the model with MLflow and register that",
        )
    destination = os.environ.get(ARTIFACTS_DESTINATION_ENV_VAR)
    if not destination:
        raise CouldNotCheckError(
            f"{location}: this server has no artifact destination",
            advice="start it with --artifacts-destination",
        )
    return posixpath.join(destination, _get_workspace_scoped_repo_path_if_enabled(path) or path)


def local_folder(uri: str) -> Path | None:
    """The folder behind a concrete location; None when it is not on this machine."""
    try:
        local = is_local_uri(uri)
    except MlflowException:
        raise CouldNotCheckError(
            f"{uri}: names another machine", advice="use a shared storage"
        ) from None
    return Path(local_file_uri_to_path(uri)) if local else None


@contextmanager
def private_copy(uri: str) -> Iterator[Path]:
    """Downloads a remote folder for as long as the block lasts.

    Raises:
        RefusedError: It holds no bundles at all; nothing was downloaded.
        CouldNotCheckError: The storage did not answer.
    """
    with scratch_folder() as scratch:
        folder = scratch / "model"
        folder.mkdir()
        try:
            bundled = _download(uri, folder)
        except Exception as error:  # noqa: BLE001 - storage clients raise classes of their own
            raise _unreachable(error) from None
        if not bundled:
            raise RefusedError("not attested")
        yield folder


def _download(uri: str, folder: Path) -> bool:
    """Fetches everything, unless the listing shows already that there are no bundles."""
    repository = get_artifact_repository(uri)
    names = {entry.path.rstrip("/") for entry in repository.list_artifacts() or ()}
    if not names:
        raise FileNotFoundError("there are no model files")
    if BUNDLE_FOLDER not in names:
        return False
    repository.download_artifacts("", dst_path=str(folder))
    return True


def _unreachable(error: Exception) -> CouldNotCheckError:
    first = (str(error).splitlines() or [""])[0][:300]
    if "certificate verify failed" in str(error):
        return CouldNotCheckError(
            "the certificate of the model's storage is not accepted by the server",
            advice="set AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE of the server to that of its authority",
        )
    return CouldNotCheckError(
        f"the model's storage does not answer: {type(error).__name__}: {first}",
        advice="see whether the server can reach its artifact storage, then try again",
    )
