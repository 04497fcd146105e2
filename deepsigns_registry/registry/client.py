# mypy: allow-untyped-calls
"""MLflow's client, made so that it answers quickly, and its errors as errors of ours."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException, RestException

from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    DeepSignsError,
    NotFoundError,
    QueuedError,
    RefusedError,
    TamperedError,
)
from deepsigns_registry.naming import without_password
from deepsigns_registry.registry.unreachable import unreached

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["be_impatient", "is_server", "make_client", "make_server_client", "translated"]

# MLflow's own defaults retry for minutes while a server is down.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_ANSWER = re.compile(r"\[deepsigns:(?P<code>[a-z-]+)\] (?P<text>.*)", re.DOTALL)
_BY_CODE: dict[str, type[DeepSignsError]] = {
    kind.code: kind for kind in (RefusedError, QueuedError, TamperedError, CouldNotCheckError)
}
# Of PostgreSQL; SQLAlchemy imports it for `postgresql://`.
_DRIVER = "psycopg"
_WRONG = "INVALID_PARAMETER_VALUE"
_MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"})


def be_impatient() -> None:
    """Has MLflow, which reads its patience from the environment, give up in seconds.

    What is set there already stays.
    """
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)


def is_server(tracking_uri: str) -> bool:
    """Whether an address is a server's, not a database's."""
    return tracking_uri.startswith(("http://", "https://"))


def make_client(tracking_uri: str) -> "MlflowClient":
    """A client of one MLflow server or database, for tracking and registry alike.

    It has little patience; see `be_impatient`.

    Args:
        tracking_uri: `http://...`, or `sqlite:///...` for reading without a server.

    Raises:
        ConfigurationError: The address is of no kind that MLflow knows here.
        NotFoundError: There is no such SQLite file; MLflow would make an empty one.
        CouldNotCheckError: The database cannot be opened.
    """
    from mlflow.tracking import MlflowClient
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    unknown: tuple[type[Exception], ...] = (
        ImportError,
        UnsupportedModelRegistryStoreURIException,
        *_dialects(),
    )
    be_impatient()
    _expect_database(tracking_uri)
    with translated(without_password(tracking_uri)):
        try:
            return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        except unknown as error:
            if isinstance(error, ModuleNotFoundError) and error.name == _DRIVER:
                raise
            raise ConfigurationError(
                f"tracking_uri '{without_password(tracking_uri)}' cannot be opened here",
                advice="name an http:// address, or install mlflow for a database",
            ) from None


def make_server_client(tracking_uri: str) -> "MlflowClient":
    """A client for what changes a promotion: that needs a running server, with its gate.

    Args:
        tracking_uri: `http://...` or `https://...`.

    Raises:
        ConfigurationError: The address is a database's.
    """
    if not is_server(tracking_uri):
        raise ConfigurationError(
            f"tracking_uri is {without_password(tracking_uri)}, and a database has no gate",
            advice="start the MLflow server, and set tracking_uri to its http:// address",
        )
    return make_client(tracking_uri)


def _dialects() -> tuple[type[Exception], ...]:
    """What a database's address raises that names no database, where any can be opened."""
    try:
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        return ()
    return (ArgumentError,)


def _expect_database(uri: str) -> None:
    path, _, _ = uri.partition("?")
    if path.startswith("sqlite:///") and not Path(path.removeprefix("sqlite:///")).is_file():
        raise NotFoundError(
            f"{path.removeprefix('sqlite:///')}: no such database",
            advice="correct tracking_uri in deepsigns.toml",
        )


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns MLflow's errors into ours.

    Args:
        what: What was asked for; begins the message where MLflow's own does not say it.

    Raises:
        NotFoundError: It does not exist.
        ConfigurationError: MLflow does not take a name or value that was given.
        RefusedError: The registry's gate said no; a `QueuedError` when it said not yet.
        TamperedError: The registry's gate found a signature or digest that does not match.
        CouldNotCheckError: The server is down, or answered something else.
    """
    try:
        yield
    except MlflowException as error:
        raise _translate(error, what) from None
    except OSError as error:
        # requests' connection errors are OSErrors too.
        raise (
            unreached(str(error), what) or CouldNotCheckError(f"{what}: {_first_line(error)}")
        ) from None


def _translate(error: MlflowException, what: str) -> DeepSignsError:
    answer = _ANSWER.search(error.message)
    if answer and answer["code"] in _BY_CODE:
        message, _, advice = answer["text"].strip().rpartition("; ")
        return _BY_CODE[answer["code"]](message or advice, advice=advice if message else "")
    # What a server says of itself is no fault of the way to it.
    on_the_way = None if isinstance(error, RestException) else unreached(error.message, what)
    if on_the_way is not None:
        return on_the_way
    line = _first_line(error.message)
    missing_alias = "alias" in line and line.endswith("not found.")
    if error.error_code in _MISSING or missing_alias:
        return NotFoundError(
            f"{what}: {line.removeprefix(f'{error.error_code}: ').rstrip('.')}",
            advice="see what there is with: deepsigns status",
        )
    if error.error_code == _WRONG:
        return ConfigurationError(
            f"{what}: MLflow says: {line.removeprefix(f'{_WRONG}: ')}",
            advice="correct what was asked for",
        )
    return CouldNotCheckError(f"{what}: MLflow says: {line}")


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [""])[0][:500]
