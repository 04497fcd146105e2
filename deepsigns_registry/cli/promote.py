"""`deepsigns promote` and `deepsigns status`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from deepsigns_registry.cli.options import config_option, echo_json, json_option, settings_of

__all__ = ["promote", "status"]


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
    click.echo(f"{result.state}: {result.message}")


@click.command()
@click.argument("version", required=False)
@config_option
@json_option
def status(version: str | None, config: Path | None, *, as_json: bool) -> None:
    """List promotion requests: all, of one model (NAME) or of one VERSION.

    VERSION is NAME/NUMBER or NAME@ALIAS, with or without models:/.
    """
    from deepsigns_registry.registry.client import make_client
    from deepsigns_registry.registry.requests import status as list_requests
    from deepsigns_registry.registry.versions import parse_name, resolve

    asked = None if version is None else parse_name(version)
    client = make_client(settings_of(config).tracking_uri)
    if asked is None:
        found = list_requests(client)
    else:
        number = resolve(client, str(version)).version if asked.alias else asked.version
        found = list_requests(client, asked.name, number or None)
    if as_json:
        echo_json({"requests": [request.model_dump() for request in found]})
        return
    if not found:
        click.echo("no promotion requests")
    for request in found:
        when = datetime.fromtimestamp(request.requested_at / 1000, tz=UTC)
        target = f" -> {request.model}/{request.marked_version}" if request.marked_version else ""
        detail = f"  {request.detail}" if request.detail else ""
        click.echo(
            f"{when:%Y-%m-%d %H:%M:%S}  {request.model}/{request.version}  "
            f"{request.alias}: {request.state}{target}{detail}"
        )
