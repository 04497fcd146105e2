"""`deepsigns init`: a settings file and fresh keys."""

from pathlib import Path

import click

from deepsigns_registry.cli.options import OnDisk
from deepsigns_registry.cli.printing import echo

__all__ = ["init"]


@click.command()
@click.option(
    "--out",
    type=OnDisk(file_okay=False),
    default=Path(),
    show_default="this folder",
    help="Folder for deepsigns.toml and keys/.",
)
@click.option("--owner", required=True, help="The owner's name, for people.")
@click.option("--tracking-uri", default="http://127.0.0.1:5000", show_default=True)
def init(out: Path, owner: str, tracking_uri: str) -> None:
    """Write deepsigns.toml and new keys."""
    from deepsigns_registry.initialise import initialise

    config = initialise(out, owner=owner, tracking_uri=tracking_uri)
    echo(f"settings: {config}")
    echo(f"keys:     {config.parent / 'keys'}  (move owner.pem to a safe place)")
    echo("next:     add a [models.<name>] section, then start the server and the worker")
