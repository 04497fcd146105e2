# mypy: allow-untyped-calls
"""Promotion requests and leases, as a worker and `deepsigns status` see them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from deepsigns_registry.errors import ConfigurationError, RefusedError
from deepsigns_registry.naming import without_password
from deepsigns_registry.registry.client import translated
from deepsigns_registry.registry.figures import plain
from deepsigns_registry.registry.progress import DataJudgement, Progress
from deepsigns_registry.registry.protocol import (
    COMMAND_TAG,
    REQUESTED,
    STATE_TAG,
    WITH_HIDDEN_TAGS,
    Attest,
    Claim,
    Command,
    Lease,
    Promote,
    PromotionRequest,
    Release,
    Renew,
    Report,
)
from deepsigns_registry.registry.transitions import PromotionState

__all__ = [
    "CommandSigner",
    "HeldLease",
    "attest",
    "claim",
    "lease_of",
    "pending_requests",
    "promote",
    "release",
    "renew",
    "report",
    "status",
]

_PAGE = 200


class CommandSigner(Protocol):
    """Signs commands; `attestation.signing.FileSigner` is one."""

    def sign_command(self, payload: bytes) -> str:
        """The payload in its DSSE envelope, JSON text."""


@dataclass(frozen=True)
class HeldLease:
    """A lease that this worker holds.

    Attributes:
        model: Registered model.
        version: The version that it is about.
        lease: Fence, worker and expiry as the registry keeps them.
    """

    model: str
    version: str
    lease: Lease


def pending_requests(client: MlflowClient) -> list[PromotionRequest]:
    """What waits for a worker, over all models, oldest first; leased ones included.

    Raises:
        CouldNotCheckError: The registry does not answer.
    """
    found = _search(client, f"tags.`{STATE_TAG}` = '{REQUESTED}'")
    queued = [request for version in found for request in _state(version).queued()]
    return sorted(queued, key=lambda request: (request.requested_at, request.id))


def status(
    client: MlflowClient, name: str | None = None, version: str | None = None
) -> list[PromotionRequest]:
    """Every request that is known, newest first, whatever became of it.

    Args:
        client: Of the registry.
        name: Only this model.
        version: Only this version of it.

    Raises:
        NotFoundError: There is no such model or version.
        CouldNotCheckError: The registry does not answer.
    """
    found: Iterable[ModelVersion]
    if name is None:
        found = _search(client, "")
    elif version is None:
        with translated(name):
            client.get_registered_model(name)
        found = _of_model(client, name)
    else:
        found = [_version(client, name, version)]
    requests = [request for each in found for request in _state(each).requests.values()]
    return sorted(requests, key=lambda request: (request.requested_at, request.id), reverse=True)


def lease_of(client: MlflowClient, name: str, version: str) -> Lease | None:
    """The lease of a version that was not given back; compare `expires_at` with the time.

    Raises:
        NotFoundError: There is no such version.
        CouldNotCheckError: The registry does not answer.
    """
    return _state(_version(client, name, version)).lease


def claim(
    client: MlflowClient,
    request: PromotionRequest,
    signer: CommandSigner,
    *,
    worker: str,
    ttl: float,
) -> HeldLease:
    """Takes the lease of the version that a request is about.

    Args:
        client: Of the registry.
        request: One that is queued.
        signer: A key that may sign commands.
        worker: Name of this worker, for people.
        ttl: Seconds until it expires, unless it is renewed.

    Raises:
        RefusedError: Another worker holds it, or the request is no longer queued.
        CouldNotCheckError: The registry does not answer, or does not take this key.
    """
    last = _state(_version(client, request.model, request.version)).fence
    command = Claim(
        model=request.model,
        version=request.version,
        request=request.id,
        worker=worker,
        fence=last + 1,
        ttl=ttl,
    )
    lease = _state(_send(client, signer, command)).lease
    if lease is None or lease.command != command.id:
        raise RefusedError(
            f"{request.model}/{request.version}: another worker took the lease",
            advice="take another request",
        )
    return HeldLease(request.model, request.version, lease)


def renew(client: MlflowClient, held: HeldLease, signer: CommandSigner, *, ttl: float) -> HeldLease:
    """Keeps the lease for `ttl` seconds from now.

    Raises:
        RefusedError: It is lost, or nothing is queued any more: stop the work.
        CouldNotCheckError: The registry does not answer.
    """
    command = Renew(
        model=held.model,
        version=held.version,
        worker=held.lease.worker,
        fence=held.lease.fence,
        renewal=held.lease.renewals + 1,
        ttl=ttl,
    )
    try:
        lease = _state(_send(client, signer, command)).lease
    except RefusedError:
        # The answer to an earlier renewal may have been lost: then it is done already.
        lease = lease_of(client, held.model, held.version)
        renewed = held.lease.model_copy(update={"renewals": command.renewal})
        if lease is None or _holding(lease) != _holding(renewed):
            raise
    return HeldLease(held.model, held.version, lease or held.lease)


def _holding(lease: Lease) -> tuple[int, str, int]:
    return lease.fence, lease.worker, lease.renewals


def release(client: MlflowClient, held: HeldLease, signer: CommandSigner) -> None:
    """Gives the lease back; what is queued stays queued.

    Raises:
        RefusedError: It is lost already.
        CouldNotCheckError: The registry does not answer.
    """
    command = Release(
        model=held.model, version=held.version, worker=held.lease.worker, fence=held.lease.fence
    )
    _send(client, signer, command)


def report(
    client: MlflowClient,
    held: HeldLease,
    signer: CommandSigner,
    request: PromotionRequest,
    *,
    state: Literal["queued", "failed"],
    detail: str,
    progress: Progress | None = None,
    judgement: DataJudgement | None = None,
) -> None:
    """Notes progress in a request (`queued`), or ends it (`failed`).

    Args:
        client: Of the registry.
        held: The lease.
        signer: A key that may sign commands.
        request: What the report is about.
        state: `failed` ends the request; setting the alias again makes a new one.
        detail: One line for people; cut at 2000 characters.
        progress: How far it is; None leaves what the request says already.
        judgement: What was found in the data; None leaves what the request says already.

    Raises:
        RefusedError: The lease is lost, or the request is no longer queued.
        CouldNotCheckError: The registry does not answer.
    """
    command = Report(
        model=held.model,
        version=held.version,
        request=request.id,
        worker=held.lease.worker,
        fence=held.lease.fence,
        state=state,
        detail=plain(detail, 2000),
        progress=progress,
        judgement=judgement,
    )
    _send(client, signer, command)


def attest(
    client: MlflowClient, model: str, version: str, bundle: str, signer: CommandSigner
) -> None:
    """Shows an attestation in the tags of the marked version; the server verifies the files.

    Raises:
        RefusedError: The version is not attested.
        TamperedError: Its files do not match.
        CouldNotCheckError: The registry does not answer.
    """
    _send(client, signer, Attest(model=model, version=version, bundle=bundle))


def promote(
    client: MlflowClient,
    held: HeldLease,
    signer: CommandSigner,
    request: PromotionRequest,
    *,
    marked_version: str,
) -> None:
    """Moves the alias of a request to the marked version.

    Raises:
        RefusedError: The lease is lost, the request is no longer queued, the alias was moved
            meanwhile, or the marked version is not attested.
        TamperedError: The marked version's files do not match its attestation.
        CouldNotCheckError: The registry does not answer, or could not check the files.
    """
    command = Promote(
        model=held.model,
        version=held.version,
        request=request.id,
        worker=held.lease.worker,
        fence=held.lease.fence,
        alias=request.alias,
        marked_version=marked_version,
        expected_previous=request.previous_version,
    )
    _send(client, signer, command)


def _send(client: MlflowClient, signer: CommandSigner, command: Command) -> ModelVersion:
    """Sends a command and returns the version as it is afterwards."""
    what = f"{command.model}/{command.version}"
    if not client.tracking_uri.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{what}: only a running MLflow server can be told to change a promotion",
            advice="start the server, and set tracking_uri to its http:// address",
        )
    envelope = signer.sign_command(command.payload())
    with translated(what):
        client.set_model_version_tag(command.model, command.version, COMMAND_TAG, envelope)
    after = _version(client, command.model, command.version)
    if COMMAND_TAG in after.tags:
        # A server that merely stores the tag has no plugin, and nothing protects its aliases.
        with translated(what):
            client.delete_model_version_tag(command.model, command.version, COMMAND_TAG)
        raise ConfigurationError(
            f"the MLflow server at {without_password(client.tracking_uri)} runs without the "
            "deepsigns plugin",
            advice="start it with --registry-store-uri deepsigns:<database uri>",
        )
    return after


def _version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    with translated(f"{name}/{version}"):
        return client.get_model_version(name, version)


def _search(client: MlflowClient, query: str) -> Iterator[ModelVersion]:
    asked = f"{query} AND {WITH_HIDDEN_TAGS}" if query else WITH_HIDDEN_TAGS
    token: str | None = None
    while True:
        with translated(f"the registry at {without_password(client.tracking_uri)}"):
            page = client.search_model_versions(asked, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _state(version: ModelVersion) -> PromotionState:
    return PromotionState.from_tags(version.tags)


def _of_model(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    """All versions of a model, whatever signs its name has."""
    # MLflow's filters know no way to escape a quote: a name with both kinds is looked for by hand.
    quote = next((sign for sign in "'\"" if sign not in name), "")
    query = f"name = {quote}{name}{quote}" if quote else ""
    return (found for found in _search(client, query) if found.name == name)
