# mypy: allow-untyped-calls
"""What the plugin writes for people, and that none of what they wrote is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow_deepsigns.store import DeepSignsStore

from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.registry.protocol import (
    COMMAND_TAG,
    WITH_HIDDEN_TAGS,
    Claim,
    Command,
    Lease,
    Promote,
    PromotionRequest,
    Release,
    Report,
)
from deepsigns_registry.registry.transitions import PromotionState

LEASE = {"model": "fraud", "version": "1", "worker": "w", "fence": 1}


@pytest.fixture
def send(store: DeepSignsStore, keys: Path) -> Callable[[Command], None]:
    signer = FileSigner(keys / "worker.pem")

    def deliver(command: Command) -> None:
        tag = ModelVersionTag(COMMAND_TAG, signer.sign_command(command.payload()))
        store.set_model_version_tag(command.model, command.version, tag)

    return deliver


@pytest.fixture
def queued(store: DeepSignsStore, unmarked: Path) -> PromotionRequest:
    store.create_registered_model("fraud")
    store.create_model_version("fraud", str(unmarked), description="Trained by Ada.\n")
    with pytest.raises(MlflowException, match="is queued"):
        store.set_registered_model_alias("fraud", "champion", "1")
    tags = store.get_model_version("fraud", "1").tags
    return PromotionState.from_tags(tags).requests["champion"]


def test_a_line_follows_the_request_and_leaves_what_people_wrote(
    store: DeepSignsStore, queued: PromotionRequest, send: Callable[[Command], None], attested: Path
) -> None:
    def told(version: str = "1") -> str:
        return str(store.get_model_version("fraud", version).description)

    assert told().startswith("Trained by Ada.\n\n\ndeepsigns: waits since ")
    edited = told().replace("Ada", "Grace") + "\nApproved."
    store.update_model_version("fraud", "1", edited)
    send(Claim(request=queued.id, ttl=60, **LEASE))
    send(Report(request=queued.id, state="queued", detail="marking", **LEASE))
    assert told() == edited
    store.create_model_version("fraud", str(attested), description="As version 1.")
    send(
        Promote(
            request=queued.id, alias="champion", marked_version="2", expected_previous=None, **LEASE
        )
    )
    assert told().startswith("Trained by Grace.\n\n\ndeepsigns: marked as v2 on ")
    assert told().endswith("; deploy v2, not this version\nApproved.")
    assert told("2").startswith("As version 1.\n\ndeepsigns: marked from v1 on ")
    assert told("2").endswith("check it with `deepsigns gate fraud/2`")


def test_a_lease_that_has_ended_is_gone_and_its_fence_is_not_given_out_again(
    store: DeepSignsStore, queued: PromotionRequest, send: Callable[[Command], None]
) -> None:
    send(Claim(request=queued.id, ttl=60, **LEASE))
    assert "mlflow.deepsigns.lease" in store.get_model_version("fraud", "1").tags
    send(Release(**LEASE))
    send(Release(**LEASE))
    tags = store.get_model_version("fraud", "1").tags
    assert "mlflow.deepsigns.lease" not in tags
    assert PromotionState.from_tags(tags).fence == 1
    with pytest.raises(MlflowException, match=r"fence 1 is not the next one \(2\)"):
        send(Claim(request=queued.id, ttl=60, **LEASE))


def test_requests_of_an_earlier_release_are_read_and_renamed_when_they_change(
    store: DeepSignsStore, queued: PromotionRequest, send: Callable[[Command], None]
) -> None:
    old = Lease(fence=7, worker="w", command="c", expires_at=1)
    with store._records.locked("fraud") as records:
        for key, value in {
            "mlflow.deepsigns.request.champion": None,
            "deepsigns.request.champion": queued.model_dump_json(exclude={"ended_at"}),
            "deepsigns.lease": old.model_dump_json(),
        }.items():
            records.set_tag("fraud", 1, key, value)
    send(Claim(request=queued.id, ttl=60, **{**LEASE, "fence": 8}))
    tags = store.get_model_version("fraud", "1").tags
    assert not {"deepsigns.request.champion", "deepsigns.lease"} & tags.keys()
    assert json.loads(tags["mlflow.deepsigns.lease"])["fence"] == 8
    assert PromotionState.from_tags(tags).requests == {"champion": queued}


def test_a_list_of_versions_has_the_data_for_machines_only_when_it_asks_for_it(
    store: DeepSignsStore, queued: PromotionRequest
) -> None:
    [listed] = store.search_model_versions("name = 'fraud'", 10)
    assert listed.tags == {"deepsigns.state": "requested"}
    [asked] = store.search_model_versions(f"name = 'fraud' AND {WITH_HIDDEN_TAGS}", 10)
    assert PromotionState.from_tags(asked.tags).requests == {"champion": queued}


def test_a_copy_does_not_say_what_was_said_of_the_other_version(
    store: DeepSignsStore, queued: PromotionRequest, unmarked: Path
) -> None:
    assert queued.state == "queued"
    first = store.get_model_version("fraud", "1")
    tags = [ModelVersionTag(key, value) for key, value in first.tags.items()]
    copy = store.create_model_version(
        "fraud", str(unmarked), tags=tags, description=first.description
    )
    assert copy.description == "Trained by Ada.\n"
    assert copy.tags == {}


def test_a_description_that_is_full_is_left_as_it_is(store: DeepSignsStore, unmarked: Path) -> None:
    store.create_registered_model("fraud", tags=[RegisteredModelTag("team", "risk")])
    store.create_model_version("fraud", str(unmarked), description="x" * 4990)
    with pytest.raises(MlflowException, match="is queued"):
        store.set_registered_model_alias("fraud", "champion", "1")
    found = store.get_model_version("fraud", "1")
    assert found.description == "x" * 4990
    assert found.tags["deepsigns.state"] == "requested"
