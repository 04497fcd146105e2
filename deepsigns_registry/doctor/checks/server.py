"""Whether the MLflow server answers, and whether it has the gate."""

# mypy: allow-untyped-calls

from collections.abc import Iterator
from secrets import token_hex
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.asking import ask, is_server
from deepsigns_registry.doctor.check import Line
from deepsigns_registry.errors import RefusedError
from deepsigns_registry.registry.client import make_client, translated
from deepsigns_registry.registry.protocol import PREFIXES

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]


def check(settings: "Settings") -> Iterator[Line]:
    """Asks for a model, and to take a reserved tag away from one that does not exist.

    The gate refuses the latter before it looks whether there is such a model; MLflow alone does
    not know it. Nothing is changed either way.

    Raises:
        DeepSignsError: The server does not answer, or not as MLflow does.
    """
    uri = settings.tracking_uri
    client = make_client(uri)
    with translated(uri):
        client.search_registered_models(max_results=1)
    if not is_server(uri):
        yield Line(
            "attention",
            f"{uri}: the database can be read; it has no gate, so promote and worker need a server",
            "set tracking_uri to the MLflow server's http:// address",
        )
        return
    yield Line("ok", f"{uri}: the MLflow server answers")
    if uri.startswith("http://") and not _is_loopback(uri):
        yield Line(
            "attention",
            f"{uri}: what is sent there is not encrypted",
            "serve MLflow by https, or keep to a network of your own",
        )
    yield _gate(uri)


def _gate(uri: str) -> Line:
    # MLflow's own client would look first whether there is such a model.
    body = {"name": f"{PREFIXES[0]}doctor-{token_hex(8)}", "key": f"{PREFIXES[0]}doctor"}
    answer = ask(uri, "/api/2.0/mlflow/registered-models/delete-tag", method="DELETE", body=body)
    if answer.status == 409 and f"[deepsigns:{RefusedError.code}]" in answer.text:
        return Line("ok", "the server has the gate (plugin mlflow-deepsigns)")
    if answer.status == 404 and "RESOURCE_DOES_NOT_EXIST" in answer.text:
        return Line(
            "wrong",
            "the server has no gate: unmarked versions can be promoted",
            "install mlflow-deepsigns there, and start it with "
            "--registry-store-uri deepsigns:DATABASE",
        )
    return Line(
        "unchecked",
        f"whether the server has the gate cannot be seen (status {answer.status})",
        "ask as a user who may change models, without a proxy that keeps DELETE back",
    )


def _is_loopback(uri: str) -> bool:
    host = uri.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return host.startswith(("127.", "localhost", "[::1]"))
