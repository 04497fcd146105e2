"""The one question of the gate: do these files carry a valid attestation?"""

import os
import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from deepsigns_registry.attestation.bundle import Attestation, verify_folder
from deepsigns_registry.attestation.keys import public_pem
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.config import Settings, load_settings, wait_until_settled
from deepsigns_registry.errors import (
    ConfigurationError,
    CouldNotCheckError,
    DeepSignsError,
    LeftoverError,
    RefusedError,
    TamperedError,
)
from mlflow_deepsigns.locations import concrete, local_folder, private_copy

__all__ = ["Checker", "read_settings"]

# A file changed within one tick of the file system's clock keeps its times, so that files younger
# than this are hashed again.
SETTLED_NANOSECONDS = 2_000_000_000
REMEMBERED = 256

Fingerprint = tuple[tuple[str, int, int, int, int, int], ...]


def read_settings() -> Settings:
    """The settings named by DEEPSIGNS_CONFIG, read anew, so that a change needs no restart.

    Raises:
        ConfigurationError: There are none, or they are not valid.
    """
    named = os.environ.get("DEEPSIGNS_CONFIG")
    if not named:
        raise ConfigurationError(
            "the server does not know what is protected",
            advice="start it with DEEPSIGNS_CONFIG=/path/to/deepsigns.toml",
        )
    wait_until_settled(Path(named))
    return load_settings()


class Checker:
    """Verifies model files by their bytes, and remembers folders that have not changed since."""

    def __init__(self) -> None:
        self._verified: OrderedDict[tuple[object, ...], Attestation] = OrderedDict()
        self._lock = Lock()

    def attested(self, location: str, settings: Settings, *, what: str) -> Attestation:
        """The attestation of the files at a location.

        Args:
            location: Storage location of a model version.
            settings: Their policy says whose signatures count.
            what: How messages call the model.

        Raises:
            RefusedError: There is no attestation.
            TamperedError: There is one, and it does not match.
            DeepSignsError: It could not be checked.
        """
        policy = Policy.from_settings(settings)
        policy.keys_for("watermark")
        uri = concrete(location)
        folder = local_folder(uri)
        if folder is not None:
            return self._local(folder, policy, what)
        try:
            with private_copy(uri) as copy:
                return _verify(copy, policy, what)
        except RefusedError:
            raise _unattested(what) from None

    def _local(self, folder: Path, policy: Policy, what: str) -> Attestation:
        before = _fingerprint(folder)
        trusted = tuple((public_pem(rule.key), rule.may_sign) for rule in policy.keys)
        key = (str(folder), trusted, policy.ignore, before)
        with self._lock:
            if key in self._verified:
                self._verified.move_to_end(key)
                return self._verified[key]
        attestation = _verify(folder, policy, what)
        settled = all(entry[-1] < time.time_ns() - SETTLED_NANOSECONDS for entry in before)
        if settled and _fingerprint(folder) == before:
            with self._lock:
                self._verified[key] = attestation
                while len(self._verified) > REMEMBERED:
                    self._verified.popitem(last=False)
        return attestation


def _verify(folder: Path, policy: Policy, what: str) -> Attestation:
    # Folders of the server are nobody's business: the messages name the model version instead.
    try:
        return verify_folder(folder, policy)
    except RefusedError:
        raise _unattested(what) from None
    except TamperedError as error:
        remedy = "register the model again from where it was trained"
        raise TamperedError(
            f"{what} has an attestation that does not hold: "
            f"{error.message.replace(str(folder), 'model folder')}",
            advice=error.advice if isinstance(error, LeftoverError) else remedy,
        ) from None
    except DeepSignsError as error:
        raise CouldNotCheckError(
            f"{what}: {error.message.replace(str(folder), 'model folder')}", advice=error.advice
        ) from None


def _unattested(what: str) -> RefusedError:
    return RefusedError(f"{what} has no watermark attestation")


def _fingerprint(folder: Path) -> Fingerprint:
    """Name, device, inode, size, mtime and ctime of everything in a folder."""
    found: list[tuple[str, int, int, int, int, int]] = []
    waiting = [folder]
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    # Not entry.stat(): on Linux both are lstat, elsewhere only this is complete.
                    stat = os.lstat(entry.path)
                    name = os.path.relpath(entry.path, folder)
                    found.append(
                        (
                            name,
                            stat.st_dev,
                            stat.st_ino,
                            stat.st_size,
                            stat.st_mtime_ns,
                            stat.st_ctime_ns,
                        )
                    )
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
    except OSError as error:
        raise CouldNotCheckError(
            f"the model's files cannot be read: {error.strerror}",
            advice="see whether the server can reach its artifact storage, then try again",
        ) from None
    return tuple(sorted(found))
