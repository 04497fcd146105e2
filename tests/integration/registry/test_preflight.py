"""A version whose origin was deleted is still served by MLflow, and can still be marked."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.preflight import check_registrable
from deepsigns_registry.registry.versions import (
    VersionRef,
    download_version,
    register_marked,
    resolve,
)


@pytest.fixture
def experiment(client: MlflowClient, name: str) -> str:
    return str(client.create_experiment(f"training of {name}"))


@pytest.fixture
def trained(client: MlflowClient, name: str, experiment: str, plain_model: Path) -> VersionRef:
    """A version of a logged model of a run, as training code makes it."""
    run = client.create_run(experiment).info.run_id
    logged = client.create_logged_model(experiment, name="trained", source_run_id=run)
    client.log_model_artifacts(logged.model_id, str(plain_model))
    client.finalize_logged_model(logged.model_id, "READY")
    client.create_registered_model(name)
    client.create_model_version(name, f"models:/{logged.model_id}", run, model_id=logged.model_id)
    return resolve(client, f"{name}/1")


def experiment_of(client: MlflowClient, ref: VersionRef) -> str:
    return str(client.get_logged_model(ref.model_id).experiment_id)


def test_a_marked_version_stands_beside_its_source(
    client: MlflowClient, trained: VersionRef, experiment: str, plain_model: Path
) -> None:
    check_registrable(client, trained)
    # Nothing is left of having tried.
    assert [m.model_id for m in client.search_logged_models([experiment])] == [trained.model_id]
    marked = register_marked(client, trained, plain_model)
    assert (marked.version, experiment_of(client, marked)) == ("2", experiment)
    assert marked.run_id == trained.run_id


@pytest.mark.parametrize("gone", ["logged model", "run", "experiment", "everything"])
def test_what_was_deleted_hinders_no_marking(
    client: MlflowClient,
    trained: VersionRef,
    experiment: str,
    gone: str,
    tmp_path: Path,
) -> None:
    if gone in {"logged model", "everything"}:
        client.delete_logged_model(trained.model_id)
    if gone in {"run", "everything"}:
        client.delete_run(trained.run_id)
    if gone in {"experiment", "everything"}:
        client.delete_experiment(experiment)
    ref = resolve(client, f"{trained.name}/1")
    check_registrable(client, ref)
    download_version(client, ref, tmp_path / "source")
    marked = register_marked(client, ref, tmp_path / "source")
    assert (experiment_of(client, marked) == experiment) == (gone in {"logged model", "run"})
    download_version(client, marked, tmp_path / "marked")
    assert (tmp_path / "marked" / "data/model.pt2").is_file()


def test_our_own_experiment_may_be_deleted_too(
    client: MlflowClient, trained: VersionRef, experiment: str, plain_model: Path
) -> None:
    client.delete_experiment(experiment)
    own = client.get_experiment(
        experiment_of(client, register_marked(client, trained, plain_model))
    )
    assert own.name.startswith("deepsigns-marked")
    client.delete_experiment(own.experiment_id)
    check_registrable(client, trained)
    marked = register_marked(client, trained, plain_model)
    again = client.get_experiment(experiment_of(client, marked))
    assert again.name.startswith("deepsigns-marked-")
    assert again.lifecycle_stage == "active"


def test_a_server_that_does_not_answer_is_no_refusal(trained: VersionRef) -> None:
    with pytest.raises(CouldNotCheckError, match="does not answer"):
        check_registrable(make_client("http://127.0.0.1:1"), trained)
