"""`deepsigns audit`: re-verify what is deployed, and what attacks would leave of the mark."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.cli.options import config_option, echo_json, json_option, settings_of
from deepsigns_registry.cli.progress import Progress

if TYPE_CHECKING:
    from deepsigns_registry.audit.run import AuditResult

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """Re-verify deployed ONNX files, now or when they are due."""


@audit.command()
@click.argument("deployments", nargs=-1)
@config_option
@json_option
def run(deployments: tuple[str, ...], config: Path | None, *, as_json: bool) -> None:
    """Audit DEPLOYMENTS now; all of deepsigns.toml when none is named."""
    from deepsigns_registry.audit.run import run_audits

    settings = settings_of(config)
    _finish(lambda progress: run_audits(settings, deployments, progress=progress), as_json=as_json)


@audit.command("run-due")
@click.argument("deployments", nargs=-1)
@config_option
@json_option
def run_due(deployments: tuple[str, ...], config: Path | None, *, as_json: bool) -> None:
    """Audit what is due by its cron expression; call it often, from cron or a CronJob."""
    from deepsigns_registry.audit.run import run_due as run_those

    settings = settings_of(config)
    _finish(lambda progress: run_those(settings, deployments, progress=progress), as_json=as_json)


def _finish(
    work: "Callable[[Callable[[str, float, str], None]], AuditResult]", *, as_json: bool
) -> None:
    with Progress("audit") as bar:
        result = work(lambda name, fraction, message: bar(fraction, f"{name}: {message}"))
    if as_json:
        echo_json(result.to_json())
    else:
        _echo(result)
    raise click.exceptions.Exit(result.exit_code)


def _echo(result: "AuditResult") -> None:
    if not result.audits and not result.skipped:
        click.echo("nothing is due")
    for audited in result.audits:
        finding = audited.finding
        click.echo(f"{finding.outcome}: {finding.deployment}: {finding.target}")
        if finding.message:
            click.echo(f"  {finding.message}")
        click.echo(f"  {'file':<16} {'accuracy':>8}  {'white box':>9}  {'black box':>9}  verdict")
        for row in finding.rows:
            accuracy = "-" if row.accuracy is None else f"{row.accuracy:.4f}"
            click.echo(
                f"  {row.label:<16} {accuracy:>8}  {_number(row.whitebox_log10_p_adjusted):>9}  "
                f"{_number(row.blackbox_log10_p_adjusted):>9}  {row.error or row.verdict}"
            )
        click.echo("  (adjusted log10 p; -6 or less is present)")
        click.echo(f"  report: {audited.folder / 'report.html'}")
        if audited.tracking.problem:
            click.echo(f"  not logged to MLflow: {audited.tracking.problem}", err=True)
    for skipped in result.skipped:
        click.echo(f"skipped: {skipped.deployment}: {skipped.reason}")


def _number(log10_p: float | None) -> str:
    return "-" if log10_p is None else f"{log10_p:.1f}"
