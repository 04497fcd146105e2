"""The settings of a process that runs for weeks: read anew for each request, as one snapshot."""

from collections.abc import Callable
from typing import NamedTuple

from deepsigns_registry.attestation.keys import public_pem
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.config import Settings, load_settings, wait_until_settled
from deepsigns_registry.errors import ConfigurationError

__all__ = ["FreshSettings", "Snapshot"]


class Snapshot(NamedTuple):
    """What one request is worked off with, whatever happens to the file meanwhile.

    Attributes:
        settings: As they were read.
        signer: The key that they name.
    """

    settings: Settings
    signer: FileSigner


class FreshSettings:
    """The last good settings of a file that somebody may edit at any time.

    Args:
        settings: As they were read first.
        say: Told in one line what changed, or why a change is not followed.

    Raises:
        ConfigurationError: The signing key is missing or not trusted.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._now = _snapshot(settings)
        self._say = say
        self._complaint = ""

    @property
    def now(self) -> Snapshot:
        """The last good one."""
        return self._now

    def read_anew(self) -> Snapshot:
        """Reads the file again; what is wrong with it is said once, and leaves the last good."""
        before = self._now
        try:
            wait_until_settled(before.settings.path)
            found = _snapshot(load_settings(before.settings.path))
        except ConfigurationError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._say(f"{error}; going on with the settings that were read before")
            return before
        changed = found.settings.changed_since(before.settings)
        if found.signer.public_pem != before.signer.public_pem:
            changed = (*changed, "the signing key")
        if changed:
            self._say(f"settings read anew, changed: {', '.join(dict.fromkeys(changed))}")
        elif self._complaint:
            self._say("settings read anew, as they were before")
        self._now, self._complaint = found, ""
        return found


def _snapshot(settings: Settings) -> Snapshot:
    signer = FileSigner(settings.file(settings.owner.signing_key))
    policy = Policy.from_settings(settings)
    for purpose in ("watermark", "command"):
        if signer.public_pem not in {public_pem(key) for key in policy.keys_for(purpose)}:
            raise ConfigurationError(
                f"{settings.path}: [policy] does not trust {signer.path} to sign: {purpose}",
                advice="add its public key to policy.keys, or correct [owner] signing_key",
            )
    return Snapshot(settings, signer)
