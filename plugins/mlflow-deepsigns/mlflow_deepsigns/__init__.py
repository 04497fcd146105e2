"""A model registry store for the MLflow server that gates protected aliases.

Start the server with `--registry-store-uri deepsigns:sqlite:///...` and `DEEPSIGNS_CONFIG` set.
MLflow loads this package in every process that touches a registry, clients too, so that the
store itself is imported only when one is opened.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow_deepsigns.store import DeepSignsStore

__version__ = "0.1.0"
__all__ = ["open_store"]

SCHEME = "deepsigns:"


def open_store(store_uri: str, tracking_uri: str | None = None) -> "DeepSignsStore":  # noqa: ARG001 - MLflow's signature
    """Opens the store for `deepsigns:<database uri>`; MLflow calls it by its entry point.

    Args:
        store_uri: Such as `deepsigns:sqlite:////srv/mlflow.db`.
        tracking_uri: Passed by MLflow; not needed.
    """
    from mlflow_deepsigns.store import make_store

    return make_store(store_uri.removeprefix(SCHEME))
