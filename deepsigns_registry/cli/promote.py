"""`deepsigns promote`: sets an alias as any script does, and waits if asked to."""

from pathlib import Path

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo

__all__ = ["promote"]


@click.command()
@click.argument("version")
@click.option("--alias", default="champion", show_default=True)
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait until it is promoted."
)
@click.option("--dry-run", is_flag=True, help="Say what would become of it; change nothing.")
@config_option
@json_option
def promote(
    version: str,
    alias: str,
    wait: float | None,
    config: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Point ALIAS at VERSION (NAME/NUMBER); an unmarked version is queued for marking."""
    from deepsigns_registry.registry.aliases import foresee, set_alias, wait_for

    settings = settings_of(config)
    result = (foresee if dry_run else set_alias)(settings, version, alias)
    if wait is not None and not dry_run:
        result = wait_for(settings, result, seconds=wait)
    if as_json:
        request = result.request.model_dump() if result.request else None
        echo_json(
            {
                "state": result.state,
                "dry_run": dry_run,
                "alias": result.alias,
                "name": result.version.name,
                "version": result.version.version,
                "request": request,
            }
        )
        return
    word = f"{result.state} (dry run)" if dry_run else result.state
    echo(f"{word}: {result.message}")
