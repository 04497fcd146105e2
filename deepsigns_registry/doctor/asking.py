"""One question to the MLflow server, answered in bounded time and space."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.registry.unreachable import unreached

__all__ = ["Answer", "ask", "is_server"]

_SECONDS = 10.0
_MOST_BYTES = 4096


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: HTTP status.
        text: The beginning of the body.
        headers: By name, in any case.
    """

    status: int
    text: str
    headers: Mapping[str, str]


def is_server(uri: str) -> bool:
    """Whether an address is a server's, and not a database's."""
    return uri.startswith(("http://", "https://"))


def ask(
    uri: str,
    path: str,
    *,
    method: Literal["GET", "POST", "DELETE"] = "GET",
    body: Mapping[str, str | bool] | None = None,
) -> Answer:
    """Asks a server once; follows no redirection.

    Args:
        uri: Its address.
        path: Of the page, from `/`.
        method: Of HTTP.
        body: Sent as JSON.

    Raises:
        ConfigurationError: The address is none.
        CouldNotCheckError: Nobody answers, in time.
    """
    import requests

    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    certificate = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}
    try:
        with requests.request(
            method,
            f"{uri.rstrip('/')}{path}",
            json=body,
            timeout=_SECONDS,
            stream=True,
            allow_redirects=False,
            # As MLflow's own client reads its variables.
            auth=(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None,
            headers={"Authorization": f"Bearer {token}"} if token and not user else None,
            verify=False if insecure else (certificate or True),
        ) as response:
            begins = next(response.iter_content(_MOST_BYTES), b"")
            return Answer(response.status_code, begins.decode(errors="replace"), response.headers)
    except (OSError, ValueError) as error:
        # The library's own errors are of these kinds.
        raise (
            unreached(str(error), uri)
            or CouldNotCheckError(f"{uri}: cannot be asked: {type(error).__name__}")
        ) from None
