# mypy: allow-untyped-calls
"""A registry as those see it that only read: a gate, a deployment, an audit."""

from functools import partial
from typing import Protocol

from mlflow.entities.model_registry import ModelVersion
from mlflow.store.model_registry.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds

from deepsigns_registry.registry.client import be_impatient, is_server, make_client

__all__ = ["Reader", "make_reader"]


class Reader(Protocol):
    """What is asked of a registry; MLflow's client gives it, and more."""

    @property
    def tracking_uri(self) -> str:
        """Address of the server, or of the database."""
        ...

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """One version by its number."""
        ...

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """The version that an alias points at."""
        ...

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        """Where its files are."""
        ...


class _Server:
    """A server's registry, asked by MLflow's own calls, credentials and certificates."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri
        self._store = RestStore(partial(get_default_host_creds, tracking_uri))

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        found: ModelVersion = self._store.get_model_version(name, version)
        return found

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        found: ModelVersion = self._store.get_model_version_by_alias(name, alias)
        return found

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        return str(self._store.get_model_version_download_uri(name, version))


def make_reader(tracking_uri: str) -> Reader:
    """Opens a registry for reading; of a server without most of MLflow.

    Args:
        tracking_uri: See `make_client`.

    Raises:
        DeepSignsError: See `make_client`.
    """
    if not is_server(tracking_uri):
        return make_client(tracking_uri)
    be_impatient()
    return _Server(tracking_uri)
