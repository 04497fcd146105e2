"""`deepsigns init`: a settings file and fresh keys."""

from pathlib import Path

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.options import json_option
from deepsigns_registry.cli.printing import echo

__all__ = ["init"]


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="this folder",
    help="Folder for deepsigns.toml and keys/.",
)
@click.option("--owner", required=True, help="The owner's name, for people.")
@click.option("--tracking-uri", default="http://127.0.0.1:5000", show_default=True)
@json_option
def init(out: Path, owner: str, tracking_uri: str, *, as_json: bool) -> None:
    """Write deepsigns.toml and new keys."""
    from deepsigns_registry.initialise import initialise

    config = initialise(out, owner=owner, tracking_uri=tracking_uri)
    keys = config.parent / "keys"
    if as_json:
        echo_json({"settings": str(config), "keys": str(keys)})
        return
    echo(f"settings: {config}")
    echo(f"keys:     {keys}  (move owner.pem to a safe place)")
    echo("next:     add a [models.<name>] section, then start the server and the worker")
