"""`deepsigns up`: MLflow with the gate and one worker, for a trial or a small team."""

import os
import signal
import sys
from pathlib import Path

import click

from deepsigns_registry.cli.extras import ExtraCommand
from deepsigns_registry.cli.printing import echo
from deepsigns_registry.naming import command, without_password

__all__ = ["up"]


@click.command(cls=ExtraCommand, extra="worker", plugin=True)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for settings, keys, database and files; made when it is not there.",
)
@click.option("--owner", default="trial", show_default=True, help="The owner's name, if made.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Of the server  [default: as in deepsigns.toml, else a free one]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--database",
    envvar="DEEPSIGNS_DATABASE",
    help="MLflow's database  [default: $DEEPSIGNS_DATABASE, else SQLite in the folder]",
)
def up(folder: Path, owner: str, port: int | None, host: str, database: str | None) -> None:
    """Start MLflow with the gate, and one worker; Ctrl-C ends both.

    It is for a trial or a small team: nobody is asked for a password. When one of the two ends by
    itself, so does the other, with exit code 3.
    """
    from deepsigns_registry.trial.home import open_home
    from deepsigns_registry.trial.services import run_together

    if database is not None:
        _hide(database)
    # A terminal that is closed ends it as Ctrl-C does.
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    home = open_home(folder, owner=owner, port=port)
    if home.made:
        echo(f"made {home.config} and {home.folder / 'keys'}; move owner.pem to a safe place")

    def ready() -> None:
        at = ("--config", home.config)
        echo(f"ready:     {home.uri}  (Ctrl-C ends it)")
        echo(f"database:  {without_password(database or home.database)}")
        echo(f"settings:  {home.config}")
        echo(f"next:      export MLFLOW_TRACKING_URI={home.uri} and register a model,")
        echo("           add its [models.NAME] section to the settings, then")
        echo(f"           {command('deepsigns', 'promote', 'NAME/1', *at)}")
        echo(f"           {command('deepsigns', 'status', 'NAME/1', '--watch', *at)}")

    run_together(home, echo, ready=ready, host=host, database=database)
    echo("ended: MLflow server and worker")


def _hide(database: str) -> None:
    """Takes the address out of this process's arguments, which every user can list."""
    os.environ["DEEPSIGNS_DATABASE"] = database
    kept, words = [], iter(sys.argv[1:])
    for word in words:
        if word == "--database":
            next(words, None)
        elif not word.startswith("--database="):
            kept.append(word)
    if kept != sys.argv[1:]:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "deepsigns_registry", *kept])  # noqa: S606 - ourselves
