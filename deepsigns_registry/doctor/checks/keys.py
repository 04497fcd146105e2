"""Whether the keys that the settings name are there, are keys, and are read by nobody else."""

import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry.attestation.keys import load_private_key, load_public_key
from deepsigns_registry.attestation.sealing import load_own_identity, load_recipient
from deepsigns_registry.doctor.check import Line, attempted

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]


def check(settings: "Settings") -> Iterator[Line]:
    """Reads each of them, as the worker does, and says nothing of what they hold.

    Raises:
        DeepSignsError: A setting names no path.
    """
    owner = settings.owner
    signing = settings.file(owner.signing_key)
    unsealing = settings.file(owner.unsealing, scheme="age")
    public = settings.file(owner.public_key)
    if not signing.exists() and not unsealing.exists():
        yield Line(
            "ok",
            "no private key on this machine: right for a server or a pipeline; a worker needs "
            "signing_key and unsealing of [owner]",
        )
    else:
        yield _private("signing key", signing, lambda: load_private_key(signing))
        yield _private("unsealing key", unsealing, lambda: load_own_identity(unsealing))
        yield attempted(lambda: _public("owner's public key", public))
        for reference in owner.sealing:
            recipient = settings.file(reference, scheme="age")
            yield attempted(partial(_recipient, recipient))
    yield from _root_keys(public)


def _private(what: str, path: Path, load: Callable[[], object]) -> Line:
    if not path.exists():
        return Line(
            "attention",
            f"{path}: no {what} on this machine",
            "right where only one of both is needed; a worker needs signing and unsealing key",
        )

    def look() -> Line:
        load()
        return Line("ok", f"{what} {path}, mode {_mode(path):04o}")

    return attempted(look)


def _public(what: str, path: Path) -> Line:
    load_public_key(path)
    return Line("ok", f"{what} {path}")


def _recipient(path: Path) -> Line:
    load_recipient(path)
    return Line("ok", f"secrets are sealed to {path}")


def _root_keys(public: Path) -> Iterator[Line]:
    """The owner's private key, where `deepsigns init` put it."""
    private = public.with_name(public.name.removesuffix(".pub.pem") + ".pem")
    if public.name.endswith(".pub.pem") and private.is_file():
        yield Line(
            "attention",
            f"{private}: the owner's own private key lies on this machine, mode "
            f"{_mode(private):04o}",
            "keep it offline, with a copy elsewhere: no command but a dispute's needs it",
        )


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
