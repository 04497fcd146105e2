"""What a real server with the plugin lets through, refuses and records."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking import MlflowClient

from deepsigns_registry.registry.requests import pending_requests, status
from deepsigns_registry.registry.server import Server
from tests.support.patience import HANG

pytestmark = pytest.mark.integration

Register = Callable[[str, Path], str]


def post(server: Server, path: str, **body: str | bool) -> requests.Response:
    return requests.post(f"{server.uri}/api/2.0/mlflow/{path}", json=body, timeout=HANG)


def test_a_protected_alias_on_an_unmarked_version_is_queued_and_answered_409(
    server: Server, client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    version = register(name, plain_model)
    body = {"name": name, "alias": "champion", "version": version}
    first = post(server, "registered-models/alias", **body)
    assert first.status_code == 409
    answer = first.json()
    assert answer["error_code"] == "RESOURCE_CONFLICT"
    assert "is queued; follow it with: deepsigns status " + f"{name}/{version}" in answer["message"]
    [request] = status(client, name)
    assert (request.alias, request.version, request.state) == ("champion", version, "queued")
    assert request.previous_version is None
    assert request.id in answer["message"]
    assert request in pending_requests(client)

    again = post(server, "registered-models/alias", **body)
    assert again.status_code == 409
    assert status(client, name) == [request]
    with pytest.raises(MlflowException, match="alias champion not found"):
        client.get_model_version_by_alias(name, "champion")


def test_some_databases_compare_without_case_so_the_gate_does(
    server: Server, register: Register, plain_model: Path, name: str
) -> None:
    version = register(name, plain_model)
    body = {"name": name, "alias": "Champion", "version": version}
    assert post(server, "registered-models/alias", **body).status_code == 409


def test_an_attested_version_takes_the_alias_and_ends_what_waits(
    client: MlflowClient, register: Register, plain_model: Path, attested_model: Path, name: str
) -> None:
    unmarked = register(name, plain_model)
    with pytest.raises(RestException, match="is queued"):
        client.set_registered_model_alias(name, "champion", unmarked)
    marked = register(name, attested_model)
    client.set_registered_model_alias(name, "champion", marked)
    assert client.get_model_version_by_alias(name, "champion").version == marked
    [request] = status(client, name)
    assert request.state == "superseded"
    assert request.detail == f"alias set to version {marked}"
    assert not [each for each in pending_requests(client) if each.model == name]


def test_changed_bytes_are_refused_and_not_queued_even_after_they_were_verified(
    server: Server, client: MlflowClient, register: Register, attested_model: Path, name: str
) -> None:
    version = register(name, attested_model)
    client.set_registered_model_alias(name, "champion", version)
    model_id = str(client.get_model_version(name, version).source).removeprefix("models:/")
    weights = Path(server.log.parent, "artifacts/0/models", model_id, "artifacts/data/model.pt2")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RestException, match=r"\[deepsigns:tampered\].*was changed"):
        client.set_registered_model_alias(name, "blue", version)
    assert status(client, name) == []


def test_a_strangers_attestation_counts_for_nothing(
    *,
    client: MlflowClient,
    register: Register,
    assembled_model: Path,
    attest_folder: Callable[..., None],
    tmp_path: Path,
    name: str,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(assembled_model, folder)
    attest_folder(folder, key="stranger")
    version = register(name, folder)
    with pytest.raises(RestException, match=r"\[deepsigns:tampered\]"):
        client.set_registered_model_alias(name, "champion", version)


def test_the_last_wish_for_an_alias_wins(
    client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    first, second = register(name, plain_model), register(name, plain_model)
    for version in (first, second):
        with pytest.raises(RestException, match="is queued"):
            client.set_registered_model_alias(name, "champion", version)
    states = {request.version: request.state for request in status(client, name)}
    assert states == {first: "superseded", second: "queued"}


def test_deleting_an_alias_ends_what_waits_for_it(
    client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    version = register(name, plain_model)
    for alias in ("champion", "blue"):
        with pytest.raises(RestException, match="is queued"):
            client.set_registered_model_alias(name, alias, version)
    client.delete_registered_model_alias(name, "champion")
    states = {request.alias: request.state for request in status(client, name)}
    assert states == {"champion": "superseded", "blue": "queued"}
    client.delete_registered_model_alias(name, "blue")
    assert client.get_model_version(name, version).tags["deepsigns.state"] == "superseded"


def test_deleting_the_version_behind_an_alias_ends_what_waits_for_it(
    client: MlflowClient, register: Register, plain_model: Path, attested_model: Path, name: str
) -> None:
    marked, unmarked = register(name, attested_model), register(name, plain_model)
    client.set_registered_model_alias(name, "champion", marked)
    with pytest.raises(RestException, match="is queued"):
        client.set_registered_model_alias(name, "champion", unmarked)
    client.delete_model_version(name, marked)
    [request] = status(client, name)
    assert (request.state, request.previous_version) == ("superseded", marked)


def test_a_new_model_of_the_same_name_inherits_nothing(
    client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    version = register(name, plain_model)
    with pytest.raises(RestException, match="is queued"):
        client.set_registered_model_alias(name, "champion", version)
    client.delete_registered_model(name)
    assert register(name, plain_model) == version
    assert status(client, name, version) == []


def test_requests_follow_a_renamed_model(
    client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    version = register(name, plain_model)
    with pytest.raises(RestException, match="is queued"):
        client.set_registered_model_alias(name, "champion", version)
    client.rename_registered_model(name, f"{name}-new")
    [request] = status(client, f"{name}-new", version)
    assert (request.model, request.state) == (f"{name}-new", "queued")


def test_a_rename_into_a_protected_name_needs_attested_versions(
    client: MlflowClient, register: Register, plain_model: Path, attested_model: Path, name: str
) -> None:
    register(name, attested_model)
    client.rename_registered_model(name, f"prod-{name}")
    other = f"{name}-other"
    register(other, plain_model)
    with pytest.raises(RestException, match=r"\[deepsigns:refused\].*the name 'prod-.*protected"):
        client.rename_registered_model(other, f"prod-{other}")


def test_a_protected_stage_passes_when_attested_and_queues_nothing(
    *,
    server: Server,
    client: MlflowClient,
    register: Register,
    plain_model: Path,
    attested_model: Path,
    name: str,
) -> None:
    unmarked, marked = register(name, plain_model), register(name, attested_model)

    def move(version: str, stage: str) -> requests.Response:
        body = {"name": name, "version": version, "stage": stage}
        return post(
            server, "model-versions/transition-stage", archive_existing_versions=False, **body
        )

    refused = move(unmarked, "production")
    assert refused.status_code == 409
    assert "nothing was queued: set the alias 'champion' on it" in refused.json()["message"]
    assert status(client, name) == []
    assert move(unmarked, "Staging").status_code == 200
    moved = move(marked, "Production")
    assert moved.json()["model_version"]["current_stage"] == "Production"


def test_a_protected_name_takes_attested_versions_only(
    client: MlflowClient, register: Register, plain_model: Path, attested_model: Path, name: str
) -> None:
    unmarked, marked = register(name, plain_model), register(name, attested_model)
    copy = client.copy_model_version(f"models:/{name}/{marked}", f"prod-{name}")
    assert copy.version in {1, "1"}
    with pytest.raises(MlflowException, match=r"\[deepsigns:refused\].*'prod-.*protected"):
        client.copy_model_version(f"models:/{name}/{unmarked}", f"prod-{name}")
    with pytest.raises(RestException, match=r"\[deepsigns:refused\]"):
        register(f"prod-{name}", plain_model)


def test_reserved_tags_are_refused_and_stripped(
    server: Server, client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    version = register(name, plain_model)
    where = {"name": name, "version": version}
    tag = {"key": "DeepSigns.Lease", "value": "mine"}
    assert post(server, "model-versions/set-tag", **where, **tag).status_code == 409
    assert post(server, "registered-models/set-tag", name=name, **tag).status_code == 409
    with pytest.raises(RestException, match="reserved"):
        client.delete_model_version_tag(name, version, "deepsigns.state")
    with pytest.raises(RestException, match="reserved"):
        client.delete_registered_model_tag(name, "deepsigns.state")
    with pytest.raises(RestException, match="reserved"):
        client.create_registered_model(f"{name}-2", tags={"deepsigns.state": "requested"})
    source = str(client.get_model_version(name, version).source)
    copied = client.create_model_version(
        name,
        source,
        tags={"deepsigns.request.champion": "{}", "team": "risk"},
        model_id=source.removeprefix("models:/"),
    )
    assert client.get_model_version(name, copied.version).tags == {"team": "risk"}
    client.set_model_version_tag(name, version, "team", "risk")
    client.delete_model_version_tag(name, version, "team")


def test_prompts_are_left_alone_and_a_model_cannot_pose_as_one(
    server: Server, client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    prompt = client.register_prompt(f"{name}-prompt", "Say {{word}}")
    client.set_prompt_alias(prompt.name, "champion", prompt.version)
    version = register(name, plain_model)
    flip = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    assert post(server, "registered-models/set-tag", name=name, **flip).status_code == 409
    answer = post(server, "model-versions/set-tag", name=name, version=version, **flip)
    assert answer.status_code == 409
    answer = requests.delete(
        f"{server.uri}/api/2.0/mlflow/registered-models/delete-tag",
        json={"name": prompt.name, "key": flip["key"]},
        timeout=HANG,
    )
    assert answer.status_code == 409
    assert "cannot be turned into a prompt or back" in answer.json()["message"]


def test_mlflows_own_not_found_errors_stay(
    server: Server, register: Register, plain_model: Path, name: str
) -> None:
    def ask(**body: str) -> tuple[int, str, str]:
        answer = post(server, "registered-models/alias", **body)
        return answer.status_code, answer.json()["error_code"], answer.json()["message"]

    missing = (404, "RESOURCE_DOES_NOT_EXIST")
    message = f"Model Version (name={name}, version=1) not found"
    assert ask(name=name, alias="champion", version="1") == (*missing, message)
    register(name, plain_model)
    message = f"Model Version (name={name}, version=9) not found"
    assert ask(name=name, alias="champion", version="9") == (*missing, message)
    assert ask(name=name, alias="v1", version="9")[:2] == (400, "INVALID_PARAMETER_VALUE")
    body = {"name": "no-such-model", "new_name": "prod-x"}
    answer = requests.post(
        f"{server.uri}/api/2.0/mlflow/registered-models/rename", json=body, timeout=HANG
    )
    assert answer.status_code == 404


def test_an_unprotected_alias_is_untouched(
    client: MlflowClient, register: Register, plain_model: Path, name: str
) -> None:
    version = register(name, plain_model)
    client.set_registered_model_alias(name, "challenger", version)
    assert client.get_model_version_by_alias(name, "challenger").version == version
    assert client.get_model_version(name, version).tags == {}


def test_what_cannot_be_checked_has_another_code(
    server: Server, client: MlflowClient, register: Register, attested_model: Path, name: str
) -> None:
    version = register(name, attested_model)
    model_id = str(client.get_model_version(name, version).source).removeprefix("models:/")
    shutil.rmtree(server.log.parent / "artifacts/0/models" / model_id)
    answer = post(server, "registered-models/alias", name=name, alias="champion", version=version)
    assert answer.status_code == 403
    assert answer.json()["error_code"] == "PERMISSION_DENIED"
    assert "could not be checked" in answer.json()["message"]
    assert status(client, name) == []
