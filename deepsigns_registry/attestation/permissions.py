"""Who else on this machine may read what is secret, as ssh asks before it uses a key."""

import logging
import stat
from pathlib import Path

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.naming import command

__all__ = ["check_private_file", "warn_of_open_folder"]

_log = logging.getLogger(__name__)
# A group is left to whoever runs the machine: secrets in containers are mounted for one.
_OTHERS = stat.S_IROTH | stat.S_IWOTH
_said: set[Path] = set()


def check_private_file(path: Path) -> None:
    """Refuses a private key that every user of the machine can read or change.

    Args:
        path: The key's file; of a link the file that it leads to counts.

    Raises:
        ConfigurationError: Everybody can.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     key = folder / "worker.pem"
        ...     key.touch(mode=0o600)
        ...     check_private_file(key)
        ...     key.chmod(0o644)
        ...     check_private_file(key)
        Traceback (most recent call last):
        deepsigns_registry.errors.ConfigurationError: ... a private key that every user ...
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if mode & _OTHERS:
        raise ConfigurationError(
            f"{path}: a private key that every user of this machine can read or change "
            f"(mode {mode:04o})",
            advice=f"make new keys if anybody did, and run: {command('chmod', '600', path)} "
            "(a mounted secret: mount it with mode 0400)",
        )


def warn_of_open_folder(path: Path) -> None:
    """Says once, in one line, that every user of the machine can read or change a folder.

    Args:
        path: The folder; a missing one is made for this user alone.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & _OTHERS and path not in _said:
        _said.add(path)
        _log.warning(
            "%s: every user of this machine can look into the key store (mode %04o); run: %s",
            path,
            mode,
            command("chmod", "700", path),
        )
