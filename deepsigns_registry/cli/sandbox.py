"""`deepsigns sandbox`: what a stranger's file cannot do on this machine."""

from pathlib import Path

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo
from deepsigns_registry.errors import CouldNotCheckError, NotFoundError

__all__ = ["sandbox"]

_MEANINGS = {
    "files": "open a file that was not handed over",
    "network": "have a socket",
    "processes": "start another process or signal one",
    "calls": "ask the kernel for what a computation does not need",
    "privileges": "gain one by starting a program",
}


@click.command()
@config_option
@json_option
def sandbox(config: Path | None, *, as_json: bool) -> None:
    """Try every door of the room in which files of strangers run.

    Exit code: 0 all are closed, 1 one is open, 3 one is open and [sandbox] requires all.
    """
    from deepsigns_registry.sandbox.room import RoomError, tried_here

    try:
        doors = tried_here()
    except RoomError as error:
        raise CouldNotCheckError(f"sandbox: its first process {error}") from None
    code = min(len(doors.open), 1)
    if code and _required(config) == "full":
        code = 3
    if as_json:
        echo_json(doors.to_json(), code)
    else:
        for name, meaning in _MEANINGS.items():
            word = "OPEN" if name in doors.open else "closed"
            echo(f"{word:<6} {name:<10} what runs there can{'not' * (word != 'OPEN')} {meaning}")
        echo(f"by: {', '.join(doors.layers) or 'nothing that this kernel gives'}")
    raise click.exceptions.Exit(code)


def _required(config: Path | None) -> str | None:
    try:
        return settings_of(config).sandbox.require
    except NotFoundError:
        if config is not None:
            raise
        return None
