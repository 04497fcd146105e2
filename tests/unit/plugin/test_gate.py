# mypy: allow-untyped-calls
"""What the store lets through and what not, in this process."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow_deepsigns.store import DeepSignsStore

from deepsigns_registry.attestation.bundle import read_bundle
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.registry.protocol import (
    ATTESTATION_TAG,
    COMMAND_TAG,
    Attest,
    Claim,
    Command,
    Promote,
    PromotionRequest,
    Release,
    Renew,
    Report,
)
from deepsigns_registry.registry.transitions import PromotionState

Send = Callable[[Command], None]


def refused(message: str) -> "pytest.RaisesExc[MlflowException]":
    return pytest.raises(MlflowException, match=message, check=conflict)


def conflict(error: MlflowException) -> bool:
    return error.error_code == "RESOURCE_CONFLICT"


@pytest.fixture
def fraud(store: DeepSignsStore, unmarked: Path, attested: Path) -> PromotionRequest:
    """Version 1 is unmarked and queued for champion, version 2 is attested."""
    store.create_registered_model("fraud")
    store.create_model_version("fraud", str(unmarked))
    store.create_model_version("fraud", str(attested))
    with refused("is queued; follow it with: deepsigns status fraud/1"):
        store.set_registered_model_alias("fraud", "champion", "1")
    return state(store).requests["champion"]


@pytest.fixture
def send(store: DeepSignsStore, keys: Path) -> Send:
    signer = FileSigner(keys / "worker.pem")

    def deliver(command: Command) -> None:
        envelope = signer.sign_command(command.payload())
        tag = ModelVersionTag(COMMAND_TAG, envelope)
        store.set_model_version_tag(command.model, command.version, tag)

    return deliver


def state(store: DeepSignsStore, version: str = "1", name: str = "fraud") -> PromotionState:
    return PromotionState.from_tags(store.get_model_version(name, version).tags)


def test_a_worker_moves_the_alias(
    store: DeepSignsStore, fraud: PromotionRequest, send: Send, attested: Path
) -> None:
    lease = {"model": "fraud", "version": "1", "worker": "w", "fence": 1}
    send(Claim(request=fraud.id, ttl=60, **lease))
    send(Renew(renewal=1, ttl=60, **lease))
    store.create_model_version("fraud", str(attested))
    send(Report(request=fraud.id, state="queued", detail="half", **lease))
    assert state(store).requests["champion"].detail == "half"
    send(Attest(model="fraud", version="2", bundle=read_bundle(attested)))
    assert store.get_model_version("fraud", "2").tags[ATTESTATION_TAG] == read_bundle(attested)
    with refused("another attestation"):
        send(Attest(model="fraud", version="2", bundle="{}"))
    promotion = Promote(
        request=fraud.id, alias="champion", marked_version="2", expected_previous=None, **lease
    )
    send(promotion)
    send(promotion)
    assert store.get_model_version_by_alias("fraud", "champion").version == 2
    assert state(store).requests["champion"].state == "done"
    store.set_registered_model_alias("fraud", "champion", "3")
    send(promotion)
    assert store.get_model_version_by_alias("fraud", "champion").version == 3
    send(Release(**lease))


def test_a_promotion_needs_the_bytes(
    store: DeepSignsStore, fraud: PromotionRequest, send: Send, attested: Path
) -> None:
    lease = {"model": "fraud", "version": "1", "worker": "w", "fence": 1}
    send(Claim(request=fraud.id, ttl=60, **lease))
    (attested / "weights").write_bytes(b"other")
    for version, message in (("2", "was changed"), ("1", "no watermark attestation")):
        with refused(message):
            send(
                Promote(
                    request=fraud.id,
                    alias="champion",
                    marked_version=version,
                    expected_previous=None,
                    **lease,
                )
            )
    assert state(store).requests["champion"].state == "queued"
    with pytest.raises(MlflowException, match="version=9"):
        send(
            Promote(
                request=fraud.id,
                alias="champion",
                marked_version="9",
                expected_previous=None,
                **lease,
            )
        )


def test_a_command_for_another_version_is_tampering(
    store: DeepSignsStore, fraud: PromotionRequest, keys: Path
) -> None:
    command = Claim(model="fraud", version="1", request=fraud.id, worker="w", fence=1, ttl=60)
    envelope = FileSigner(keys / "worker.pem").sign_command(command.payload())
    with refused("is about fraud/1 and was sent to fraud/2"):
        store.set_model_version_tag("fraud", "2", ModelVersionTag(COMMAND_TAG, envelope))
    with refused(r"\[deepsigns:tampered\]"):
        store.set_model_version_tag("fraud", "1", ModelVersionTag(COMMAND_TAG, ""))


def test_deletions_and_other_decisions_end_what_is_queued(
    store: DeepSignsStore, fraud: PromotionRequest
) -> None:
    store.set_registered_model_alias("fraud", "champion", "2")
    assert state(store).requests["champion"].detail == "alias set to version 2"
    with refused("is queued"):
        store.set_registered_model_alias("fraud", "champion", "1")
    again = state(store).requests["champion"]
    assert again.id != fraud.id
    assert again.previous_version == "2"
    store.delete_model_version("fraud", "2")
    assert state(store).requests["champion"].detail == "version 2 deleted"
    with refused("is queued"):
        store.set_registered_model_alias("fraud", "champion", "1")
    store.delete_registered_model_alias("fraud", "champion")
    assert state(store).requests["champion"].detail == "alias deleted"


def test_deleting_a_queued_version_leaves_nothing_to_do(
    store: DeepSignsStore, fraud: PromotionRequest
) -> None:
    assert fraud.state == "queued"
    store.delete_model_version("fraud", "1")
    found = store._get_sql_model_version_including_deleted("fraud", 1)
    assert PromotionState.from_tags(found.tags).queued() == []


def test_protected_names_and_stages(
    store: DeepSignsStore, fraud: PromotionRequest, unmarked: Path, attested: Path
) -> None:
    assert fraud.state == "queued"
    with refused("the name 'prod-fraud' is protected"):
        store.rename_registered_model("fraud", "prod-fraud")
    with refused("stage 'Production' is protected"):
        store.transition_model_version_stage("fraud", "1", "production", False)
    moved = store.transition_model_version_stage("fraud", "2", "Production", False)
    assert moved.current_stage == "Production"
    store.create_registered_model("prod-x")
    with refused("the name 'prod-x' is protected"):
        store.create_model_version("prod-x", str(unmarked))
    assert str(store.create_model_version("prod-x", str(attested)).version) == "1"
    assert str(store.create_model_version("prod-x", "models:/fraud/2").version) == "2"
    with refused("the name 'prod-x' is protected"):
        store.create_model_version("prod-x", "models:/fraud/1")
    with pytest.raises(MlflowException, match="prod-none not found"):
        store.create_model_version("prod-none", str(attested))
    store.delete_model_version("fraud", "1")
    store.rename_registered_model("fraud", "prod-fraud")
    assert store.get_model_version("prod-fraud", "2").version == 2


def test_a_source_that_moved_while_it_was_checked_is_refused(
    store: DeepSignsStore,
    fraud: PromotionRequest,
    attested: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert fraud.state == "queued"
    store.create_registered_model("prod-x")
    # What was found before somebody put the unmarked version in its place.
    monkeypatch.setattr(store, "_location_of", lambda _source: str(attested))
    with refused("changed while it was checked"):
        store.create_model_version("prod-x", "models:/fraud/1")
    assert store.get_latest_versions("prod-x") == []


def test_a_protected_alias_is_protected_in_any_case(
    store: DeepSignsStore, fraud: PromotionRequest
) -> None:
    with refused("is queued"):
        store.set_registered_model_alias("fraud", "CHAMPION", "1")
    assert {request.alias for request in state(store).queued()} == {"CHAMPION", fraud.alias}


def test_what_is_queued_follows_a_rename(store: DeepSignsStore, fraud: PromotionRequest) -> None:
    store.rename_registered_model("fraud", "fraud-eu")
    moved = state(store, name="fraud-eu").requests["champion"]
    assert (moved.id, moved.model, moved.state) == (fraud.id, "fraud-eu", "queued")


def test_an_attestation_too_long_for_a_tag_is_only_in_the_files(
    store: DeepSignsStore, send: Send, unmarked: Path, attest_folder: Callable[[Path], None]
) -> None:
    for number in range(900):
        (unmarked / f"{number:03}").touch()
    attest_folder(unmarked)
    store.create_registered_model("fraud")
    store.create_model_version("fraud", str(unmarked))
    send(Attest(model="fraud", version="1", bundle=read_bundle(unmarked)))
    assert ATTESTATION_TAG not in store.get_model_version("fraud", "1").tags


def test_prompts_are_exempt_by_their_source(store: DeepSignsStore) -> None:
    store.create_registered_model("greeting", [RegisteredModelTag(IS_PROMPT_TAG_KEY, "true")])
    store.create_model_version("greeting", "dummy-source")
    store.set_registered_model_alias("greeting", "champion", "1")
    store.transition_model_version_stage("greeting", "1", "Production", False)
    store.set_registered_model_tag("greeting", RegisteredModelTag(IS_PROMPT_TAG_KEY, "true"))
    store.set_model_version_tag("greeting", "1", ModelVersionTag(IS_PROMPT_TAG_KEY, "true"))
    store.create_registered_model("prod-greeting")
    store.create_model_version("prod-greeting", "prompt-template")
    with refused("cannot be turned into a prompt or back"):
        store.delete_registered_model_tag("greeting", IS_PROMPT_TAG_KEY)


def test_an_ordinary_model_cannot_pose_as_a_prompt(
    store: DeepSignsStore, fraud: PromotionRequest, unmarked: Path
) -> None:
    assert fraud.state == "queued"
    with refused("cannot be turned into a prompt"):
        store.set_registered_model_tag("fraud", RegisteredModelTag(IS_PROMPT_TAG_KEY, "True"))
    with refused("cannot be turned into a prompt"):
        store.set_model_version_tag("fraud", "1", ModelVersionTag(IS_PROMPT_TAG_KEY, "true"))
    # A prompt's name does not exempt a version that has files.
    store.create_registered_model("sly", [RegisteredModelTag(IS_PROMPT_TAG_KEY, "true")])
    store.create_model_version("sly", str(unmarked))
    with refused("no watermark attestation"):
        store.set_registered_model_alias("sly", "champion", "1")


def test_reserved_tags(store: DeepSignsStore, fraud: PromotionRequest, unmarked: Path) -> None:
    assert fraud.state == "queued"
    for attempt in (
        lambda: store.set_model_version_tag("fraud", "1", ModelVersionTag("Deepsigns.x", "")),
        lambda: store.delete_model_version_tag("fraud", "1", "deepsigns.state"),
        lambda: store.set_registered_model_tag("fraud", RegisteredModelTag("deepsigns.x", "")),
        lambda: store.delete_registered_model_tag("fraud", "deepsigns.x"),
        lambda: store.create_registered_model("n", [RegisteredModelTag("deepsigns.x", "")]),
    ):
        with refused("is reserved"):
            attempt()
    tags = [ModelVersionTag("deepsigns.state", "requested"), ModelVersionTag("team", "risk")]
    assert store.create_model_version("fraud", str(unmarked), tags=tags).tags == {"team": "risk"}


def test_a_copy_of_the_attested_folder_is_as_good(
    store: DeepSignsStore, fraud: PromotionRequest, attested: Path
) -> None:
    # The attestation is about digests: neither name nor number nor place matter.
    assert fraud.state == "queued"
    shutil.copytree(attested, attested.with_name("copy"))
    store.create_registered_model("other")
    store.create_model_version("other", str(attested.with_name("copy")))
    store.set_registered_model_alias("other", "champion", "1")
