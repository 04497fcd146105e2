"""Whether key store, checkpoints and reports can be written, and what a backup has to hold."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.attestation.chain import read_chain
from deepsigns_registry.attestation.commitment import CommitmentLog
from deepsigns_registry.doctor.check import Line, attempted
from deepsigns_registry.errors import NotFoundError
from deepsigns_registry.naming import command

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check", "nearest_folder"]


def check(settings: "Settings") -> Iterator[Line]:
    """Asks the system whether this user may write there; nothing is written.

    Raises:
        DeepSignsError: A setting names no path.
    """
    keystore = settings.file(settings.keystore.uri)
    yield _writable("key store", keystore, private=True)
    yield _writable("checkpoints", settings.checkpoints, private=True)
    if settings.deployments:
        yield _writable("audit reports", settings.base / settings.audit.reports, private=False)
    yield attempted(lambda: _backup(keystore))
    unsealing = settings.file(settings.owner.unsealing, scheme="age")
    if unsealing.exists() and unsealing.resolve().is_relative_to(keystore.resolve()):
        yield Line(
            "attention",
            f"{unsealing}: the unsealing key lies in the key store that it opens",
            "keep it elsewhere: who copies the folder has every secret",
        )


def nearest_folder(path: Path) -> Path:
    """The path where it is a folder, else the closest folder above it."""
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())


def _writable(what: str, path: Path, *, private: bool) -> Line:
    if path.exists() and not path.is_dir():
        return Line("wrong", f"{what} {path}: is no folder", "name a folder in deepsigns.toml")
    place = nearest_folder(path)
    if not os.access(place, os.W_OK | os.X_OK):
        return Line(
            "wrong",
            f"{what} {path}: this user may not write to {place}",
            "give the folder to the user that runs the worker",
        )
    if place != path:
        return Line("ok", f"{what} {path}: is made when it is needed")
    mode = stat.S_IMODE(path.stat().st_mode)
    if private and mode & (stat.S_IROTH | stat.S_IWOTH):
        return Line(
            "wrong",
            f"{what} {path}: every user of this machine can look into it (mode {mode:04o})",
            f"run: {command('chmod', '700', path)}",
        )
    return Line("ok", f"{what} {path}: can be written, mode {mode:04o}")


def _backup(keystore: Path) -> Line:
    log = CommitmentLog(keystore / "commitments.jsonl")
    try:
        entries = read_chain(log.content(), str(log.path), advice="restore it").entries
    except NotFoundError:
        entries = ()
    if not entries:
        return Line("ok", f"{keystore}: holds no secret yet, so there is nothing to back up")
    return Line(
        "ok",
        f"{len(entries)} commitments, chained without a gap, the newest of {entries[-1].at[:19]}: "
        "a backup that is older lacks it (whether there is one cannot be seen from here)",
        f"copy {keystore} as a whole after each marking, and the unsealing key to another place",
    )
