"""Whether the MLflow server answers, and whether it has the gate."""

# mypy: allow-untyped-calls

import re
from collections.abc import Iterator
from secrets import token_hex
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.asking import Answer, ask, is_server
from deepsigns_registry.doctor.check import Line
from deepsigns_registry.errors import CouldNotCheckError, RefusedError, in_a_line
from deepsigns_registry.registry.client import make_client, translated
from deepsigns_registry.registry.protocol import PREFIXES

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

_API, _UNKNOWN = "/api/2.0/mlflow", "RESOURCE_DOES_NOT_EXIST"


def check(settings: "Settings") -> Iterator[Line]:
    """Asks for a model, and for two changes of one that does not exist.

    The gate refuses to take a reserved tag away before it looks whether there is such a model, and
    reads its settings before a change of stage; MLflow alone does not know the model. Nothing is
    changed either way.

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
    nobody = f"{PREFIXES[0]}doctor-{token_hex(8)}"
    gate = _gate(uri, nobody)
    yield gate
    if gate.standing == "ok":
        yield _settings(uri, nobody)


def _gate(uri: str, nobody: str) -> Line:
    # MLflow's own client would look first whether there is such a model.
    body = {"name": nobody, "key": f"{PREFIXES[0]}doctor"}
    answer = ask(uri, f"{_API}/registered-models/delete-tag", method="DELETE", body=body)
    if answer.status == 409 and f"[deepsigns:{RefusedError.code}]" in answer.text:
        return Line("ok", "the server has the gate (plugin mlflow-deepsigns)")
    if answer.status == 404 and _UNKNOWN in answer.text:
        return Line(
            "wrong",
            "the server has no gate: unmarked versions can be promoted",
            "install mlflow-deepsigns there, and start it with "
            "--registry-store-uri deepsigns:DATABASE",
        )
    return _unseen("whether the server has the gate", answer)


def _settings(uri: str, nobody: str) -> Line:
    body: dict[str, str | bool] = {"name": nobody, "version": "1", "stage": "Archived"}
    body["archive_existing_versions"] = False
    answer = ask(uri, f"{_API}/model-versions/transition-stage", method="POST", body=body)
    if answer.status == 404 and _UNKNOWN in answer.text:
        return Line("ok", "the server has settings of its own, and knows what is protected")
    said = re.search(r"could not be checked: ([^\"]{1,500})", answer.text)
    if answer.status == 403 and f"[deepsigns:{CouldNotCheckError.code}]" in answer.text and said:
        return Line(
            "wrong",
            f"the server refuses every promotion: {in_a_line(said[1])}",
            "start it with DEEPSIGNS_CONFIG=/path/to/deepsigns.toml, a file that it can read",
        )
    return _unseen("whether the server knows what is protected", answer)


def _unseen(what: str, answer: Answer) -> Line:
    return Line(
        "unchecked",
        f"{what} cannot be seen (status {answer.status})",
        "ask as a user who may change models, without a proxy that keeps such requests back",
    )


def _is_loopback(uri: str) -> bool:
    host = uri.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return host.startswith(("127.", "localhost", "[::1]"))
