"""`deepsigns promote`: sets an alias as any script does, and waits if asked to."""

from pathlib import Path

import click

from deepsigns_registry.cli.options import config_option, echo_json, json_option, settings_of
from deepsigns_registry.cli.printing import echo

__all__ = ["promote"]


@click.command()
@click.argument("version")
@click.option("--alias", default="champion", show_default=True)
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait until it is promoted."
)
@config_option
@json_option
def promote(
    version: str, alias: str, wait: float | None, config: Path | None, *, as_json: bool
) -> None:
    """Point ALIAS at VERSION (NAME/NUMBER); an unmarked version is queued for marking."""
    from deepsigns_registry.registry.aliases import set_alias, wait_for

    settings = settings_of(config)
    result = set_alias(settings, version, alias)
    if wait is not None:
        result = wait_for(settings, result, seconds=wait)
    if as_json:
        request = result.request.model_dump() if result.request else None
        echo_json(
            {
                "state": result.state,
                "alias": result.alias,
                "name": result.version.name,
                "version": result.version.version,
                "request": request,
            }
        )
        return
    echo(f"{result.state}: {result.message}")
