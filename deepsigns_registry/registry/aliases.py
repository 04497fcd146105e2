"""Setting an alias the way a person does, and telling what the gate made of it."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deepsigns_registry.errors import CouldNotCheckError, RefusedError
from deepsigns_registry.naming import command, version_name
from deepsigns_registry.registry.client import make_client, make_server_client, translated
from deepsigns_registry.registry.gate import gate
from deepsigns_registry.registry.requests import status
from deepsigns_registry.registry.versions import resolve

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from deepsigns_registry.config import Settings
    from deepsigns_registry.registry.protocol import PromotionRequest
    from deepsigns_registry.registry.versions import VersionRef

__all__ = ["Promotion", "foresee", "set_alias", "wait_for"]

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Promotion:
    """What became of an attempt to set an alias.

    Attributes:
        state: `promoted`, or `queued` when the version has to be marked first.
        alias: The alias.
        version: The version it points at, or the one that waits.
        request: The queued request.
        message: What the registry said, for people.
    """

    state: Literal["promoted", "queued"]
    alias: str
    version: "VersionRef"
    request: "PromotionRequest | None"
    message: str


def set_alias(settings: "Settings", uri: str, alias: str) -> Promotion:
    """Sets an alias; an unmarked version is queued for marking by that very attempt.

    Raises:
        NotFoundError: There is no such version.
        RefusedError: The registry refused without queueing.
        TamperedError: The version's files do not match its attestation.
        CouldNotCheckError: The registry does not answer.
        ConfigurationError: `tracking_uri` names no server.
    """
    client = make_server_client(settings.tracking_uri)
    version = resolve(client, uri)
    try:
        with translated(str(version)):
            client.set_registered_model_alias(version.name, alias, version.version)
    except RefusedError as error:
        request = _queued(client, version, alias)
        if request is None:
            raise
        return Promotion("queued", alias, version, request, str(error))
    return Promotion("promoted", alias, version, None, f"{alias} -> {version}")


def foresee(settings: "Settings", uri: str, alias: str) -> Promotion:
    """What `set_alias` would come to; changes nothing.

    It is judged by the settings at hand: the server's may protect other aliases.

    Raises:
        NotFoundError: There is no such version.
        TamperedError: The version's files do not match its attestation.
        CouldNotCheckError: The registry does not answer.
        ConfigurationError: The policy trusts nobody.
    """
    version = resolve(make_client(settings.tracking_uri), uri)
    protected = {kept.casefold() for kept in settings.registry.protected_aliases}
    if alias.casefold() not in protected:
        said = f"{version} would get the alias '{alias}', which these settings do not protect"
        return Promotion("promoted", alias, version, None, said)
    try:
        gate(settings, f"{version.name}/{version.version}")
    except RefusedError:
        look = command("deepsigns", "check", version_name(version.name, version.version))
        said = f"{version} would be queued for marking; what that takes is said by: {look}"
        return Promotion("queued", alias, version, None, said)
    return Promotion("promoted", alias, version, None, f"{version} would get the alias '{alias}'")


def wait_for(settings: "Settings", promotion: Promotion, *, seconds: float) -> Promotion:
    """Waits until a queued request has ended.

    Raises:
        RefusedError: The request failed or was superseded.
        CouldNotCheckError: It is still queued after `seconds`.
    """
    if promotion.request is None:
        return promotion
    client = make_client(settings.tracking_uri)
    deadline = time.monotonic() + seconds
    name, version = promotion.version.name, promotion.version.version
    while True:
        now = {request.id: request for request in status(client, name, version)}
        request = now.get(promotion.request.id)
        if request is None or request.state in {"failed", "superseded"}:
            detail = request.detail if request else "it is not known any more"
            raise RefusedError(f"{promotion.version}: not promoted: {detail}")
        if request.state == "done":
            marked = resolve(client, f"{name}/{request.marked_version or version}")
            message = f"{promotion.alias} -> {marked}"
            return Promotion("promoted", promotion.alias, marked, request, message)
        if time.monotonic() >= deadline:
            raise CouldNotCheckError(
                f"{promotion.version}: still queued after {seconds:g} s: {request.detail}",
                advice="start a worker: deepsigns worker",
            )
        time.sleep(_POLL_SECONDS)


def _queued(client: "MlflowClient", version: "VersionRef", alias: str) -> "PromotionRequest | None":
    for request in status(client, version.name, version.version):
        if request.alias == alias and request.state == "queued":
            return request
    return None
