"""`deepsigns audit`: re-verify what is deployed, and what attacks would leave of the mark."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepsigns_registry.audit.columns import columns
from deepsigns_registry.cli.boundary import WholeSummaries
from deepsigns_registry.cli.envelope import echo_json
from deepsigns_registry.cli.extras import ExtraCommand
from deepsigns_registry.cli.options import config_option, json_option, settings_of
from deepsigns_registry.cli.printing import echo
from deepsigns_registry.cli.progress import Progress

if TYPE_CHECKING:
    from deepsigns_registry.audit.finding import Finding
    from deepsigns_registry.audit.plan import Plan
    from deepsigns_registry.audit.run import AuditResult

__all__ = ["audit"]


_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be audited; fetch and attack nothing."
)


@click.group(cls=WholeSummaries)
def audit() -> None:
    """Re-verify deployed ONNX files, now or when they are due."""


@audit.command(cls=ExtraCommand, extra="worker")
@click.argument("deployments", nargs=-1)
@_dry_run_option
@config_option
@json_option
def run(deployments: tuple[str, ...], config: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Audit DEPLOYMENTS now; all of deepsigns.toml when none is named."""
    from deepsigns_registry.audit.plan import plan_audits
    from deepsigns_registry.audit.run import run_audits

    settings = settings_of(config)
    if dry_run:
        _foresee(plan_audits(settings, deployments), as_json=as_json)
        return
    _finish(lambda progress: run_audits(settings, deployments, progress=progress), as_json=as_json)


@audit.command("run-due", cls=ExtraCommand, extra="worker")
@click.argument("deployments", nargs=-1)
@_dry_run_option
@config_option
@json_option
def run_due(
    deployments: tuple[str, ...], config: Path | None, *, dry_run: bool, as_json: bool
) -> None:
    """Audit what is due by its cron expression; call it often, from cron or a CronJob."""
    from deepsigns_registry.audit.run import due_plans
    from deepsigns_registry.audit.run import run_due as run_those

    settings = settings_of(config)
    if dry_run:
        _foresee(due_plans(settings, deployments), as_json=as_json)
        return
    _finish(lambda progress: run_those(settings, deployments, progress=progress), as_json=as_json)


def _foresee(plans: "Sequence[Plan]", *, as_json: bool) -> None:
    if as_json:
        found = [
            {
                "deployment": plan.deployment.name,
                "model": plan.deployment.model,
                "target": plan.deployment.target,
                "attacks": list(plan.labels),
            }
            for plan in plans
        ]
        echo_json({"audits": found})
        return
    if not plans:
        echo("nothing is due")
    for plan in plans:
        attacks = ", ".join(plan.labels) or "no attacks"
        echo(f"would be audited: {plan.deployment.name}: {plan.deployment.target}: {attacks}")


def _finish(
    work: "Callable[[Callable[[str, float, str], None]], AuditResult]", *, as_json: bool
) -> None:
    with Progress("audit") as bar:
        result = work(lambda name, fraction, message: bar(fraction, f"{name}: {message}"))
    if as_json:
        echo_json(result.to_json(), result.exit_code)
    else:
        _echo(result)
    raise click.exceptions.Exit(result.exit_code)


def _echo(result: "AuditResult") -> None:
    if not result.audits and not result.skipped:
        echo("nothing is due")
    for audited in result.audits:
        finding = audited.finding
        echo(f"{finding.outcome}: {finding.deployment}: {finding.target}")
        if finding.message:
            echo(f"  {finding.message}")
        if finding.rows:
            for line in _table(finding):
                echo(line)
            echo("  (adjusted log10 p; -6 or less is present)")
        echo(f"  report: {audited.folder / 'report.html'}")
        if audited.tracking.page:
            echo(f"  curves: {audited.tracking.page}")
        if audited.tracking.problem:
            echo(f"  not logged to MLflow: {audited.tracking.problem}", err=True)
    for skipped in result.skipped:
        echo(f"skipped: {skipped.deployment}: {skipped.reason}")


def _table(finding: "Finding") -> list[str]:
    schemes = columns(finding.schemes)
    rows = [["file", finding.score, *(column.label for column in schemes), "verdict"]]
    for row in finding.rows:
        readings = [row.reading(column.scheme) for column in schemes]
        rows.append(
            [
                row.label,
                "-" if row.accuracy is None else f"{row.accuracy:.4f}",
                *("-" if entry is None else f"{entry.log10_p_adjusted:.1f}" for entry in readings),
                row.error or row.verdict,
            ]
        )
    widths = [max(len(line[place]) for line in rows) for place in range(len(rows[0]) - 1)]
    return [
        f"  {line[0]:<{max(widths[0], 16)}} "
        + "".join(f"{cell:>{width}}  " for cell, width in zip(line[1:-1], widths[1:], strict=True))
        + line[-1]
        for line in rows
    ]
