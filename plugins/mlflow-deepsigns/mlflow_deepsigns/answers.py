"""How the store says no: MLflow error codes that its clients do not retry.

What is wrong is a conflict (HTTP 409); what could not be checked is permission denied (HTTP 403).
Codes that become 5xx would be retried for minutes and their text lost. The stable code of the
error stands in the text, so that `deepsigns` turns it back into the same error.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_CONFLICT

from deepsigns_registry.errors import (
    CouldNotCheckError,
    DeepSignsError,
    RefusedError,
    TamperedError,
)

__all__ = ["answer", "answered"]


def answer(error: DeepSignsError) -> MlflowException:
    """The MLflow exception for an error of ours."""
    if isinstance(error, (RefusedError, TamperedError)):
        return MlflowException(f"[deepsigns:{error.code}] {error}", RESOURCE_CONFLICT)
    # A server's missing or wrong configuration is no fault of the caller: nothing was checked.
    return MlflowException(
        f"[deepsigns:{CouldNotCheckError.code}] refused, because it could not be checked: {error}",
        PERMISSION_DENIED,
    )


@contextmanager
def answered() -> Iterator[None]:
    """Turns errors of ours into MLflow's."""
    try:
        yield
    except DeepSignsError as error:
        raise answer(error) from None
