"""Where the server looks for a version's files."""

from pathlib import Path

import pytest
from mlflow.server.constants import ARTIFACTS_DESTINATION_ENV_VAR
from mlflow_deepsigns.locations import concrete, local_folder, private_copy

from deepsigns_registry.errors import CouldNotCheckError, RefusedError


def test_proxied_locations_lead_to_the_artifact_destination(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ARTIFACTS_DESTINATION_ENV_VAR, "s3://bucket/prefix")
    assert concrete("mlflow-artifacts:/1/models/m-1") == "s3://bucket/prefix/1/models/m-1"
    monkeypatch.setenv(ARTIFACTS_DESTINATION_ENV_VAR, "file:///srv/artifacts")
    assert local_folder(concrete("mlflow-artifacts:/1/a")) == Path("/srv/artifacts/1/a")


@pytest.mark.parametrize("location", ["/srv/model", "file:///srv/model", "s3://bucket/model"])
def test_other_locations_stay_as_they_are(location: str) -> None:
    assert concrete(location) == location


@pytest.mark.parametrize(
    "location",
    [
        "mlflow-artifacts://elsewhere:5000/1/a",
        "mlflow-artifacts:/1/../2",
        "mlflow-artifacts:/1/%2e%2e/2",
        "mlflow-artifacts:/1//2",
        "mlflow-artifacts:/1\\2",
        "mlflow-artifacts:/1?x=2",
        "mlflow-artifacts:/1#2",
        "mlflow-artifacts:/",
        "https://elsewhere/model",
        "runs:/abc/model",
        "models:/m/1",
    ],
)
def test_what_a_client_might_read_elsewhere_is_refused(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ARTIFACTS_DESTINATION_ENV_VAR, "/srv/artifacts")
    with pytest.raises(CouldNotCheckError):
        concrete(location)


def test_a_server_without_destination_cannot_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ARTIFACTS_DESTINATION_ENV_VAR, raising=False)
    with pytest.raises(CouldNotCheckError, match="no artifact destination"):
        concrete("mlflow-artifacts:/1/a")


def test_another_machines_folder_cannot_be_checked() -> None:
    with pytest.raises(CouldNotCheckError, match="names another machine"):
        local_folder("file://elsewhere/srv/model")
    assert local_folder("s3://bucket/model") is None


def test_a_remote_folder_is_copied_for_as_long_as_it_is_needed(
    attested: Path, unmarked: Path
) -> None:
    # MLflow's local repository stands for any other: only the scheme differs.
    with private_copy(attested.as_uri()) as folder:
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["MLmodel", "data", "deepsigns", "weights"]
    assert not folder.exists()
    with pytest.raises(RefusedError, match="not attested"), private_copy(unmarked.as_uri()):
        pass
    gone = (unmarked / "gone").as_uri()
    with pytest.raises(CouldNotCheckError, match="does not answer"), private_copy(gone):
        pass
