# mypy: allow-untyped-calls
"""What was logged with a version when it was trained."""

from contextlib import suppress

from mlflow.tracking import MlflowClient

from deepsigns_registry.errors import DeepSignsError
from deepsigns_registry.registry.client import translated
from deepsigns_registry.registry.versions import VersionRef

__all__ = ["logged_metrics"]


def logged_metrics(client: MlflowClient, ref: VersionRef) -> dict[str, float]:
    """The metrics of the version's logged model, and of its run where that has others.

    A version may outlive both: what is not there any more, or may not be read, is left out.

    Args:
        client: Of the registry.
        ref: The version.
    """
    found: dict[str, float] = {}
    if ref.run_id:
        with suppress(DeepSignsError), translated(f"run of {ref}"):
            found |= client.get_run(ref.run_id).data.metrics
    if ref.model_id:
        with suppress(DeepSignsError), translated(f"logged model of {ref}"):
            metrics = client.get_logged_model(ref.model_id).metrics or ()
            found |= {metric.key: metric.value for metric in metrics}
    return found
