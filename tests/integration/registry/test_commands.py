"""Signed commands against a real server: claim, renew, report, promote, attest, and replays."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.bundle import read_bundle
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    RefusedError,
    TamperedError,
)
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.protocol import (
    ATTESTATION_TAG,
    COMMAND_TAG,
    Claim,
    Promote,
    PromotionRequest,
    Renew,
)
from deepsigns_registry.registry.requests import (
    HeldLease,
    attest,
    claim,
    lease_of,
    promote,
    release,
    renew,
    report,
    status,
)
from deepsigns_registry.registry.server import Server

pytestmark = pytest.mark.integration

Register = Callable[[str, Path], str]
Queue = Callable[[str], PromotionRequest]


@pytest.fixture
def queue(client: MlflowClient, register: Register, plain_model: Path) -> Queue:
    """Registers an unmarked version of a model and asks for `champion`."""

    def make(model: str) -> PromotionRequest:
        version = register(model, plain_model)
        with pytest.raises(RestException, match="is queued"):
            client.set_registered_model_alias(model, "champion", version)
        return next(request for request in status(client, model) if request.version == version)

    return make


def test_a_worker_claims_reports_and_promotes(
    *,
    client: MlflowClient,
    signer: FileSigner,
    register: Register,
    attested_model: Path,
    queue: Queue,
    name: str,
) -> None:
    request = queue(name)
    held = claim(client, request, signer, worker="w1", ttl=60)
    assert (held.lease.fence, held.lease.worker) == (1, "w1")
    report(client, held, signer, request, state="queued", detail="training: 40%")
    assert status(client, name)[0].detail == "training: 40%"
    held = renew(client, held, signer, ttl=90)
    assert held.lease.renewals == 1

    marked = register(name, attested_model)
    attest(client, name, marked, read_bundle(attested_model), signer)
    tags = client.get_model_version(name, marked).tags
    assert tags[ATTESTATION_TAG] == read_bundle(attested_model)

    promote(client, held, signer, request, marked_version=marked)
    assert client.get_model_version_by_alias(name, "champion").version == marked
    [done] = status(client, name)
    assert (done.state, done.marked_version) == ("done", marked)
    with pytest.raises(RefusedError, match="does not hold the lease"):
        renew(client, held, signer, ttl=60)


def test_only_one_of_many_workers_gets_the_lease(
    server: Server, signer: FileSigner, queue: Queue, name: str
) -> None:
    request = queue(name)
    won: list[HeldLease] = []
    refused: list[RefusedError] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        client = make_client(server.uri)
        start.wait()
        try:
            won.append(claim(client, request, signer, worker=f"w{number}", ttl=60))
        except RefusedError as error:
            refused.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(refused) == 5


def test_an_expired_lease_goes_to_the_next_worker_and_fences_the_first(
    *,
    client: MlflowClient,
    signer: FileSigner,
    register: Register,
    attested_model: Path,
    queue: Queue,
    name: str,
) -> None:
    request = queue(name)
    slow = claim(client, request, signer, worker="slow", ttl=3600)
    with pytest.raises(RefusedError, match="is leased to worker slow"):
        claim(client, request, signer, worker="fast", ttl=60)
    # However slow the machine is, the lease ended after this and not before.
    slow = renew(client, slow, signer, ttl=0.1)
    time.sleep(0.2)
    fast = claim(client, request, signer, worker="fast", ttl=60)
    assert fast.lease.fence == slow.lease.fence + 1
    marked = register(name, attested_model)
    with pytest.raises(RefusedError, match=r"does not hold the lease .* with fence 1"):
        promote(client, slow, signer, request, marked_version=marked)
    with pytest.raises(RefusedError, match="does not hold the lease"):
        report(client, slow, signer, request, state="failed", detail="out of memory")
    release(client, fast, signer)
    third = claim(client, request, signer, worker="third", ttl=60)
    assert third.lease.fence == 3


def test_a_rollback_by_an_operator_is_not_overwritten(
    *,
    client: MlflowClient,
    signer: FileSigner,
    register: Register,
    attested_model: Path,
    queue: Queue,
    name: str,
) -> None:
    old = register(name, attested_model)
    client.set_registered_model_alias(name, "champion", old)
    request = queue(name)
    assert request.previous_version == old
    held = claim(client, request, signer, worker="w", ttl=60)
    marked = register(name, attested_model)
    client.set_registered_model_alias(name, "champion", old)
    with pytest.raises(RefusedError, match="is superseded: alias set to version"):
        promote(client, held, signer, request, marked_version=marked)
    with pytest.raises(RefusedError, match="nothing is queued any more"):
        renew(client, held, signer, ttl=60)
    assert client.get_model_version_by_alias(name, "champion").version == old


def test_an_unmarked_version_is_never_promoted_whoever_signs(
    *,
    client: MlflowClient,
    signer: FileSigner,
    register: Register,
    plain_model: Path,
    queue: Queue,
    name: str,
) -> None:
    request = queue(name)
    held = claim(client, request, signer, worker="w", ttl=60)
    other = register(name, plain_model)
    with pytest.raises(RefusedError, match="has no watermark attestation"):
        promote(client, held, signer, request, marked_version=other)
    with pytest.raises(RefusedError, match="has no watermark attestation"):
        attest(client, name, other, "{}", signer)
    assert status(client, name)[0].state == "queued"


def test_a_failed_request_ends_and_asking_again_makes_a_new_one(
    client: MlflowClient, signer: FileSigner, queue: Queue, name: str
) -> None:
    request = queue(name)
    held = claim(client, request, signer, worker="w", ttl=600)
    report(client, held, signer, request, state="failed", detail="too narrow:\n8 neurons")
    [failed] = status(client, name)
    assert (failed.state, failed.detail) == ("failed", "too narrow: 8 neurons")
    with pytest.raises(RestException, match="is queued"):
        client.set_registered_model_alias(name, "champion", request.version)
    [again] = status(client, name)
    assert again.id != request.id
    assert claim(client, again, signer, worker="w", ttl=60).lease.fence == 2


def test_old_commands_sent_again_do_nothing(
    *,
    client: MlflowClient,
    signer: FileSigner,
    register: Register,
    attested_model: Path,
    queue: Queue,
    name: str,
) -> None:
    request = queue(name)

    def send(envelope: str) -> None:
        client.set_model_version_tag(name, request.version, COMMAND_TAG, envelope)

    first = Claim(
        model=name, version=request.version, request=request.id, worker="w", fence=1, ttl=3600
    )
    claimed = signer.sign_command(first.payload())
    send(claimed)
    send(claimed)
    # However slow the machine is, the lease ends after this and not before.
    ending = Renew(model=name, version=request.version, worker="w", fence=1, renewal=1, ttl=0.1)
    send(signer.sign_command(ending.payload()))
    time.sleep(0.2)
    held = claim(client, request, signer, worker="w", ttl=60)
    with pytest.raises(RestException, match=r"\[deepsigns:refused\]"):
        send(claimed)
    marked = register(name, attested_model)
    command = Promote(
        model=name,
        version=request.version,
        request=request.id,
        worker="w",
        fence=held.lease.fence,
        alias="champion",
        marked_version=marked,
        expected_previous=None,
    )
    promoted = signer.sign_command(command.payload())
    send(promoted)
    send(promoted)
    newer = register(name, attested_model)
    client.set_registered_model_alias(name, "champion", newer)
    send(promoted)
    assert client.get_model_version_by_alias(name, "champion").version == newer


def test_commands_need_a_trusted_key_and_the_right_version(
    client: MlflowClient, signer: FileSigner, home: Path, queue: Queue, name: str
) -> None:
    request = queue(name)
    for key in ("stranger", "marks"):
        with pytest.raises(TamperedError):
            claim(client, request, FileSigner(home / f"keys/{key}.pem"), worker="w", ttl=60)
    elsewhere = Claim(model=name, version="9", request=request.id, worker="w", fence=1, ttl=60)
    for payload in (elsewhere.payload(), json.dumps({"command": "format"}).encode()):
        with pytest.raises(RestException, match=r"\[deepsigns:(tampered|could-not-check)\]"):
            client.set_model_version_tag(
                name, request.version, COMMAND_TAG, signer.sign_command(payload)
            )
    with pytest.raises(RestException, match=r"\[deepsigns:tampered\]"):
        client.set_model_version_tag(name, request.version, COMMAND_TAG, "no envelope")
    assert lease_of(client, name, request.version) is None


def test_a_database_cannot_be_commanded(
    server: Server, client: MlflowClient, signer: FileSigner, queue: Queue, name: str
) -> None:
    request = queue(name)
    reader = make_client(server.database)
    assert status(reader, name) == status(client, name)
    with pytest.raises(ConfigurationError, match="only a running MLflow server"):
        claim(reader, request, signer, worker="w", ttl=60)


def test_a_server_that_is_down_is_could_not_check(signer: FileSigner) -> None:
    client = make_client("http://127.0.0.1:1")
    request = PromotionRequest(id="r", alias="champion", model="m", version="1", requested_at=0)
    started = time.monotonic()
    with pytest.raises(CouldNotCheckError, match="does not answer"):
        claim(client, request, signer, worker="w", ttl=60)
    # MLflow's own seven tries, each after twice the pause, take over four minutes.
    assert time.monotonic() - started < 200
