# mypy: allow-untyped-calls
"""Where a marked version's files go in MLflow, and whether they can: asked before any training.

A marked model belongs beside its source, in the source's experiment. MLflow goes on serving a
version whose experiment, run or logged model was deleted, but takes nothing more there; then an
experiment of our own holds the marked model.
"""

import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import LifecycleStage, LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from deepsigns_registry.registry.client import translated

if TYPE_CHECKING:
    from deepsigns_registry.registry.versions import VersionRef

__all__ = ["check_registrable", "new_logged_model"]

# Where a marked model goes that cannot go where its source is.
_OWN_EXPERIMENT = "deepsigns-marked"
_REFUSALS = frozenset({"PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})


def check_registrable(client: MlflowClient, ref: "VersionRef") -> None:
    """Does all that registering a marked version will do, but for the version itself.

    A logged model is made, a small file is uploaded, and the logged model is deleted again.

    Args:
        client: Of the registry; a server, not a database.
        ref: The version that is to be marked.

    Raises:
        RefusedError: The registry's gate does not take it.
        ConfigurationError: MLflow does not take a model there.
        CouldNotCheckError: The server does not answer, or does not let us.
    """
    with translated(f"a marked version of {ref}"):
        logged = new_logged_model(client, ref)
        try:
            with tempfile.TemporaryDirectory(prefix="deepsigns-") as folder:
                (Path(folder) / "preflight.txt").write_text("removed when the mark is in\n")
                client.log_model_artifacts(logged.model_id, folder)
        finally:
            client.finalize_logged_model(logged.model_id, "FAILED")
            client.delete_logged_model(logged.model_id)


def new_logged_model(client: MlflowClient, ref: "VersionRef") -> LoggedModel:
    """Makes the logged model for a marked version: beside its source, or else where it can be.

    Raises:
        MlflowException: It can be nowhere.
    """
    source, run_id = _lineage(client, ref)
    name = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', ref.name)}-marked"
    if source and _is_active(client, source):
        try:
            return client.create_logged_model(source, name=name, source_run_id=run_id or None)
        except MlflowException as error:
            # Not ours to write to, or deleted in this moment.
            if error.error_code not in _REFUSALS:
                raise
    return client.create_logged_model(
        _own_experiment(client), name=name, source_run_id=run_id or None
    )


def _lineage(client: MlflowClient, ref: "VersionRef") -> tuple[str, str]:
    """Experiment and run of the source version, as far as they can still be found."""
    if ref.model_id:
        try:
            logged = client.get_logged_model(ref.model_id)
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
        else:
            return logged.experiment_id, ref.run_id or logged.source_run_id or ""
    if ref.run_id:
        try:
            return client.get_run(ref.run_id).info.experiment_id, ref.run_id
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
    return "" if ref.model_id or ref.run_id else "0", ""


def _is_active(client: MlflowClient, experiment: str) -> bool:
    try:
        found = client.get_experiment(experiment)
    except MlflowException as error:
        if error.error_code not in _REFUSALS:
            raise
        return False
    return str(found.lifecycle_stage) == LifecycleStage.ACTIVE


def _own_experiment(client: MlflowClient) -> str:
    """The first experiment of our own that can be written to; a deleted one keeps its name."""
    for name in _own_names():
        found = client.get_experiment_by_name(name)
        if found is None:
            return str(client.create_experiment(name))
        if found.lifecycle_stage == LifecycleStage.ACTIVE:
            return str(found.experiment_id)
    raise AssertionError  # pragma: no cover - the names do not end


def _own_names() -> Iterator[str]:
    yield _OWN_EXPERIMENT
    for number in itertools.count(2):
        yield f"{_OWN_EXPERIMENT}-{number}"
