"""Whether the MLflow server answers, and whether it has the gate."""

# mypy: allow-untyped-calls

from collections.abc import Iterator
from secrets import token_hex
from typing import TYPE_CHECKING

from deepsigns_registry.doctor.asking import is_server
from deepsigns_registry.doctor.check import Line
from deepsigns_registry.errors import NotFoundError, RefusedError
from deepsigns_registry.registry.client import make_client, translated
from deepsigns_registry.registry.protocol import PREFIX

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
    name = f"{PREFIX}doctor-{token_hex(8)}"
    try:
        with translated("the gate"):
            client.delete_registered_model_tag(name, f"{PREFIX}doctor")
    except RefusedError:
        yield Line("ok", "the server has the gate (plugin mlflow-deepsigns)")
        return
    except NotFoundError:
        pass
    yield Line(
        "wrong",
        "the server has no gate: unmarked versions can be promoted",
        "install mlflow-deepsigns there, and start it with --registry-store-uri deepsigns:DATABASE",
    )


def _is_loopback(uri: str) -> bool:
    host = uri.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return host.startswith(("127.", "localhost", "[::1]"))
