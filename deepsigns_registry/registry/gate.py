"""The gate of a CI pipeline: is what this name points at attested, byte for byte?"""

from dataclasses import dataclass
from pathlib import Path

from deepsigns_registry.attestation.bundle import Attestation, verify_folder
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import (
    CouldNotCheckError,
    NotFoundError,
    RefusedError,
    TamperedError,
)
from deepsigns_registry.naming import command, version_name
from deepsigns_registry.registry.reader import Reader, make_reader
from deepsigns_registry.registry.versions import (
    Progress,
    VersionRef,
    download_version,
    resolve,
)

__all__ = ["GateResult", "gate", "verified"]


@dataclass(frozen=True)
class GateResult:
    """What the gate let through.

    Attributes:
        ref: The version.
        attestation: What its files say about themselves, verified.
    """

    ref: VersionRef
    attestation: Attestation


def gate(
    settings: Settings,
    uri: str,
    *,
    client: Reader | None = None,
    progress: Progress | None = None,
) -> GateResult:
    """Downloads a version to a private folder and verifies every byte of it.

    A tag convinces nobody: the answer depends on the files and on the trusted keys alone.

    Args:
        settings: Their policy says whose signatures count.
        uri: `models:/name@alias` or `name/3`.
        client: Of the registry; by default that of the settings.
        progress: Called with a fraction and a word.

    Raises:
        ConfigurationError: The policy trusts nobody, or `uri` is no model name.
        NotFoundError: There is no such version.
        RefusedError: The version is not attested.
        TamperedError: It is, and the files do not match.
        CouldNotCheckError: Server or storage does not answer.
    """
    policy = Policy.from_settings(settings)
    policy.keys_for("watermark")
    client = client or make_reader(settings.tracking_uri)
    ref = resolve(client, uri)
    with scratch_folder("deepsigns-gate-") as scratch:
        folder = download_version(client, ref, scratch / "model", progress=progress)
        return GateResult(ref, verified(folder, policy, ref))


def verified(folder: Path, policy: Policy, ref: VersionRef) -> Attestation:
    """Verifies a downloaded version; messages name the version instead of the folder.

    Raises:
        RefusedError: It is not attested.
        TamperedError: It is, and the files do not match.
        CouldNotCheckError: The files cannot be read.
    """
    try:
        return verify_folder(folder, policy)
    except RefusedError:
        raise RefusedError(
            f"{ref} has no watermark attestation",
            advice="set a protected alias on it, then follow: "
            + command("deepsigns", "status", version_name(ref.name, ref.version)),
        ) from None
    except TamperedError as error:
        raise type(error)(
            f"{ref}: {error.message.replace(f'{folder}/', '').replace(str(folder), 'model')}",
            advice=error.advice or "do not deploy it; find out who changed it",
        ) from None
    except NotFoundError as error:
        raise CouldNotCheckError(f"{ref}: {error.message}") from None
