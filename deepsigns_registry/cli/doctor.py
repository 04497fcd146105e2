"""`deepsigns doctor`: what is in order on this machine, and what is not."""

from pathlib import Path

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo

__all__ = ["doctor"]


@click.command()
@config_option
@json_option
def doctor(config: Path | None, *, as_json: bool) -> None:
    """Look at server, keys, policy, data, stores, disk, runtime, isolation and time, line by line.

    Each line is ok, attention (it can be right on this machine), wrong, or unchecked. Nothing is
    changed. Exit code: 0 nothing is wrong, 1 something is, 3 something could not be checked.
    """
    from deepsigns_registry.doctor.examination import Examined, examine, exit_code_of

    settings = settings_of(config)
    found: list[Examined] = []
    for each in examine(settings):
        found.append(each)
        if not as_json:
            line = each.line
            echo(f"{line.standing:<9} {each.check:<9} {line.message}")
            if line.advice:
                echo(f"{'':<19} -> {line.advice}")
    code = exit_code_of(found)
    counts = {
        standing: sum(each.line.standing == standing for each in found)
        for standing in ("ok", "attention", "wrong", "unchecked")
    }
    if as_json:
        lines = [
            {
                "check": each.check,
                "standing": each.line.standing,
                "message": each.line.message,
                "advice": each.line.advice,
            }
            for each in found
        ]
        echo_json({"lines": lines, "counts": counts}, code)
    else:
        echo(", ".join(f"{number} {standing}" for standing, number in counts.items() if number))
    raise click.exceptions.Exit(code)
