"""MLflow's errors in this project's words."""

import pytest
from mlflow.exceptions import MlflowException, RestException

from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    DeepSignsError,
    NotFoundError,
    RefusedError,
    TamperedError,
)
from deepsigns_registry.registry.client import translated

SERVER_DOWN = (
    "m/1: the MLflow server does not answer; start it, or correct tracking_uri in deepsigns.toml"
)


def rest(code: str, message: str) -> RestException:
    return RestException({"error_code": code, "message": message})


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            rest("RESOURCE_CONFLICT", "[deepsigns:refused] m/1 is not marked; wait"),
            RefusedError,
            "m/1 is not marked; wait",
        ),
        (
            rest("RESOURCE_CONFLICT", "[deepsigns:tampered] m/1 was changed"),
            TamperedError,
            "m/1 was changed",
        ),
        (
            rest("PERMISSION_DENIED", "[deepsigns:could-not-check] no key; add one"),
            CouldNotCheckError,
            "no key; add one",
        ),
        (
            rest("RESOURCE_DOES_NOT_EXIST", "Registered Model with name=m not found"),
            NotFoundError,
            "m/1: Registered Model with name=m not found; see what there is with: deepsigns status",
        ),
        (
            rest("INVALID_PARAMETER_VALUE", "Registered model alias x not found."),
            NotFoundError,
            "m/1: Registered model alias x not found; see what there is with: deepsigns status",
        ),
        (
            rest("INVALID_PARAMETER_VALUE", "Version alias name 'v1' is reserved."),
            ConfigurationError,
            "m/1: MLflow says: Version alias name 'v1' is reserved.; correct what was asked for",
        ),
        (
            MlflowException("API request to http://x failed: Max retries exceeded with url: /"),
            CouldNotCheckError,
            SERVER_DOWN,
        ),
        (
            rest("INTERNAL_ERROR", "it broke\nTraceback"),
            CouldNotCheckError,
            "m/1: MLflow says: INTERNAL_ERROR: it broke",
        ),
        (ConnectionError("refused"), CouldNotCheckError, "m/1: refused"),
    ],
)
def test_each_answer_becomes_its_own_error(
    error: Exception, kind: type[DeepSignsError], text: str
) -> None:
    with pytest.raises(kind) as caught, translated("m/1"):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value) == text


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError, match="x"), translated("m/1"):
        raise KeyError("x")
