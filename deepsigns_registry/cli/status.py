"""`deepsigns status`: what became of promotion requests, and how far they are."""

import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo, shown
from deepsigns_registry.cli.progress import time_left
from deepsigns_registry.naming import parse_name
from deepsigns_registry.registry.figures import STEALTH, STEALTH_COST, spoken

if TYPE_CHECKING:
    from deepsigns_registry.registry.protocol import PromotionRequest

__all__ = ["status"]


@click.command()
@click.argument("version", required=False)
@click.option("--watch", is_flag=True, help="Follow what is queued until it has ended.")
@config_option
@json_option
def status(version: str | None, config: Path | None, *, watch: bool, as_json: bool) -> None:
    """List promotion requests: all, of one model (NAME) or of one VERSION.

    VERSION is NAME/NUMBER or NAME@ALIAS, with or without models:/. With --watch the exit code is
    1 when a request that was followed was not promoted.
    """
    look = _look(version, config)
    if not watch:
        _echo(look(), as_json=as_json)
        return
    from deepsigns_registry.registry.following import follow

    shown = _Shown()
    followed: Sequence[PromotionRequest] = ()
    for followed in follow(look):
        if not as_json:
            shown.show(followed)
    code = int(any(request.state != "done" for request in followed))
    if as_json or not followed:
        _echo(followed, as_json=as_json, code=code)
    raise click.exceptions.Exit(code)


def _look(version: str | None, config: Path | None) -> "Callable[[], list[PromotionRequest]]":
    """What reads the requests that were asked for."""
    from deepsigns_registry.errors import NotFoundError
    from deepsigns_registry.registry.client import make_client
    from deepsigns_registry.registry.requests import status as list_requests
    from deepsigns_registry.registry.versions import is_model, resolve

    asked = None if version is None else parse_name(version)
    client = make_client(settings_of(config).tracking_uri)
    if asked is None:
        return lambda: list_requests(client)
    name, number = asked.name, asked.version
    if asked.alias:
        try:
            # The alias moves while it is followed; what was asked for is where it points now.
            number = resolve(client, str(version)).version
        except NotFoundError:
            name = str(version).removeprefix("models:/")
            if not is_model(client, name):
                raise
    return lambda: list_requests(client, name, number or None)


def _echo(requests: "Sequence[PromotionRequest]", *, as_json: bool, code: int = 0) -> None:
    if as_json:
        echo_json({"requests": [request.model_dump() for request in requests]}, code)
        return
    if not requests:
        echo("no promotion requests")
    for request in requests:
        for line in _lines(request):
            echo(line)


class _Shown:
    """What stands on the terminal and is drawn anew; in a log, the last line of each request."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._drawn = 0
        self._said: dict[str, str] = {}

    def show(self, requests: "Sequence[PromotionRequest]") -> None:
        if self._terminal:
            columns = shutil.get_terminal_size().columns
            lines = [line[: columns - 1] for request in requests for line in _lines(request)]
            if self._drawn:
                click.echo(f"\x1b[{self._drawn}F\x1b[J", nl=False)
            # At once, so that nobody sees half of it.
            click.echo("\n".join(map(shown, lines)))
            self._drawn = len(lines)
            return
        for request in requests:
            line = _in_a_line(request)
            if self._said.get(request.id) != line:
                self._said[request.id] = line
                echo(line)
                sys.stdout.flush()


def _lines(request: "PromotionRequest") -> list[str]:
    when = f"{_time(request.requested_at)}  "
    lines = [f"{when}{_headline(request)}"]
    progress = request.progress
    if progress is not None:
        if request.state == "queued":
            left = time_left(progress.seconds_left)
            parts = [f"{progress.percent:.0f}%", progress.stage, left]
            seen = f"(at {_time(progress.updated_at)})"
            lines.append(f"  progress  {', '.join(part for part in parts if part)} {seen}")
            if progress.reason and progress.reason != request.detail:
                lines.append(f"  before    {progress.reason}")
        measured = spoken(progress.figures)
        if measured:
            lines.append(f"  evidence  {measured}")
        if progress.figures.get(STEALTH):
            lines.append(f"  stealth   {STEALTH_COST}")
    if request.judgement is not None:
        lines.append(f"  data      {request.judgement.spoken()}")
    return lines


def _in_a_line(request: "PromotionRequest") -> str:
    parts = [_headline(request)]
    progress = request.progress
    if progress is not None:
        if request.state == "queued":
            parts += [f"{progress.percent:.0f}%", time_left(progress.seconds_left)]
        parts.append(spoken(progress.figures))
    return ", ".join(part for part in parts if part)


def _headline(request: "PromotionRequest") -> str:
    target = f" -> {request.model}/{request.marked_version}" if request.marked_version else ""
    detail = f"  {request.detail}" if request.detail else ""
    return f"{request.model}/{request.version}  {request.alias}: {request.state}{target}{detail}"


def _time(milliseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, tz=UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        # A tag may say what no clock says.
        return "????-??-?? ??:??:??"
