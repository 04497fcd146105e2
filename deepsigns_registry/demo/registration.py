"""What a team does today: log a model, register it, set an alias."""

import json
import logging
import urllib.error
import urllib.request
import warnings
from typing import TYPE_CHECKING

from deepsigns_registry.errors import CouldNotCheckError

if TYPE_CHECKING:
    from torch import nn

    from deepsigns_registry.watermark.data import TrainingData

__all__ = ["post_alias", "register"]


def register(model: "nn.Module", data: "TrainingData", *, name: str, tracking_uri: str) -> str:
    """Logs and registers a trained model, with plain MLflow.

    Returns:
        Number of the new version.
    """
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    example = data.validation.inputs[:4]
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_experiment(name)
        with mlflow.start_run(run_name="training"):
            logged = mlflow.pytorch.log_model(
                model,
                name="model",
                input_example=example,
                serialization_format="pt2",
                registered_model_name=name,
                pip_requirements=["torch"],
            )
    return str(logged.registered_model_version)


def post_alias(tracking_uri: str, *, name: str, alias: str, version: str) -> tuple[int, str]:
    """Sets an alias over MLflow's REST API, as any script does.

    Returns:
        HTTP status, and the server's message.

    Raises:
        CouldNotCheckError: The server does not answer.
    """
    request = urllib.request.Request(  # noqa: S310 - the demo's own http address
        f"{tracking_uri}/api/2.0/mlflow/registered-models/alias",
        data=json.dumps({"name": name, "alias": alias, "version": version}).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status), ""
    except urllib.error.HTTPError as error:
        return error.code, str(json.loads(error.read()).get("message", ""))
    except OSError as error:
        raise CouldNotCheckError(f"{tracking_uri}: does not answer: {error}") from None
