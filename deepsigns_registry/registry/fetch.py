"""What a deployment calls: the bytes that were verified, and no others."""

from pathlib import Path

from deepsigns_registry.attestation.leftovers import remove
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.registry.gate import GateResult, verified
from deepsigns_registry.registry.reader import Reader, make_reader
from deepsigns_registry.registry.versions import Progress, download_version, nearest, resolve

__all__ = ["fetch"]


def fetch(
    settings: Settings,
    uri: str,
    out: Path,
    *,
    client: Reader | None = None,
    progress: Progress | None = None,
) -> GateResult:
    """Downloads a version beside `out`, verifies those bytes and renames them into place.

    A version's folder stays writable in MLflow, so that verifying first and downloading again
    would serve other bytes than were verified. What nobody signed is left out, also where it does
    not count.

    Args:
        settings: Their policy says whose signatures count.
        uri: `models:/name@alias` or `name/3`.
        out: A folder that does not exist yet; it appears complete, or not at all.
        client: Of the registry; by default that of the settings.
        progress: Called with a fraction and a word.

    Raises:
        ConfigurationError: `out` exists, the policy trusts nobody, or `uri` is no model name.
        NotFoundError: There is no such version.
        RefusedError: The version is not attested.
        TamperedError: It is, and the files do not match.
        CouldNotCheckError: Server or storage does not answer, or `out` cannot be written.
    """
    policy = Policy.from_settings(settings)
    policy.keys_for("watermark")
    out = out.absolute()
    if out.exists() or out.is_symlink():
        raise ConfigurationError(f"{out}: exists already", advice="name a folder that does not")
    client = client or make_reader(settings.tracking_uri)
    ref = resolve(client, uri)
    try:
        with scratch_folder(".deepsigns-", within=nearest(out)) as scratch:
            folder = download_version(client, ref, scratch / "model", progress=progress)
            attestation = verified(folder, policy, ref)
            remove(folder, attestation.ignored)
            out.parent.mkdir(parents=True, exist_ok=True)
            # rename() would replace an empty folder that somebody made meanwhile; that is harmless.
            folder.rename(out)
    except OSError as error:
        raise CouldNotCheckError(f"{out}: cannot be written: {error.strerror or error}") from None
    return GateResult(ref, attestation)
