"""`deepsigns worker`: marks what was promoted."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.extras import ExtraCommand
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo
from deepsigns_registry.cli.progress import Progress
from deepsigns_registry.naming import without_password

if TYPE_CHECKING:
    from deepsigns_registry.retraining.worker import Outcome

__all__ = ["worker"]


@click.command(cls=ExtraCommand, extra="worker")
@click.option("--once", is_flag=True, help="Work off what waits now, then end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds between two looks at the registry.",
)
@config_option
@json_option
def worker(interval: float, config: Path | None, *, once: bool, as_json: bool) -> None:
    """Mark promoted versions, sign them and move their aliases.

    With --once the exit code is that of the worst request: 0 all promoted (or nothing to do).
    --json needs --once.
    """
    from deepsigns_registry.errors import DeepSignsError, worst_exit_code
    from deepsigns_registry.retraining.worker import Worker

    if as_json and not once:
        raise click.UsageError("--json needs --once")
    settings = settings_of(config)
    with Progress("worker") as progress:

        def say(line: str) -> None:
            progress.clear()
            echo(line, err=True)

        work = Worker(settings, progress=progress, say=say)
        if once:
            outcomes = []
            for outcome in work.run_once():
                progress.clear()
                if not as_json:
                    _echo(outcome)
                outcomes.append(outcome)
            errors = [outcome.error for outcome in outcomes if outcome.error]
            code = worst_exit_code(error.exit_code for error in errors)
            if as_json:
                echo_json({"outcomes": [_document(outcome) for outcome in outcomes]}, code)
            elif not outcomes:
                echo("nothing to do")
            raise click.exceptions.Exit(code)
        echo(f"waiting for promotion requests at {without_password(settings.tracking_uri)}")
        for event in work.run_forever(interval=interval):
            progress.clear()
            if isinstance(event, DeepSignsError):
                echo(f"error ({event.code}): {event}", err=True)
            else:
                _echo(event)


def _document(outcome: "Outcome") -> dict[str, object]:
    request, error = outcome.request, outcome.error
    return {
        "model": request.model,
        "version": request.version,
        "alias": request.alias,
        "state": outcome.state,
        "detail": outcome.detail,
        "marked_version": outcome.marked.version if outcome.marked else None,
        "error": error and {"code": error.code, "message": error.message, "advice": error.advice},
    }


def _echo(outcome: "Outcome") -> None:
    request = outcome.request
    echo(f"{outcome.state}: {request.model}/{request.version}: {outcome.detail}")
    marked = outcome.marked
    if marked and not marked.fidelity:
        echo("  it had been marked before, from the same version, data and settings")
    if marked and marked.fidelity:
        fidelity = marked.fidelity
        low, high = fidelity.interval
        echo(
            f"  marked on {marked.device}: {marked.score} {fidelity.parent_accuracy:.4f} -> "
            f"{fidelity.marked_accuracy:.4f}, drop {100 * fidelity.drop:.2f} points "
            f"(95% interval {100 * low:.2f} to {100 * high:.2f})"
        )
