"""`audit run` and `audit run-due`: every deployment audited, logged, reported and signed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation.keys import owner_identity, public_pem
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.sealing import load_own_identity
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.audit import tracking
from deepsigns_registry.audit.curves import figures
from deepsigns_registry.audit.examine import examine
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.plan import Plan, plan_audits
from deepsigns_registry.audit.report import render
from deepsigns_registry.audit.schedule import due, exclusive
from deepsigns_registry.audit.store import last_audits, write_report
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, worst_exit_code

__all__ = ["AuditResult", "Audited", "Skipped", "run_audits", "run_due"]

Progress = Callable[[str, float, str], None]
"""Told the deployment, the fraction in [0, 1], and what is being done."""


@dataclass(frozen=True)
class Audited:
    """A finished audit.

    Attributes:
        finding: What was found.
        folder: Where the signed report lies.
        tracking: The MLflow run, or why there is none.
    """

    finding: Finding
    folder: Path
    tracking: tracking.Tracking


@dataclass(frozen=True)
class Skipped:
    """A deployment that was not audited.

    Attributes:
        deployment: Its name.
        reason: Why, in one line.
        exit_code: 0 when that is as it should be, 3 when an answer was asked for.
    """

    deployment: str
    reason: str
    exit_code: int


@dataclass(frozen=True)
class AuditResult:
    """What one call audited."""

    audits: tuple[Audited, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def exit_code(self) -> int:
        """One code for all deployments: 4 over 1 over 3 over 0."""
        codes = [audit.finding.exit_code for audit in self.audits]
        return worst_exit_code([*codes, *(entry.exit_code for entry in self.skipped)])

    def to_json(self) -> dict[str, Any]:
        """The result as plain values, for `--json`."""
        return {
            "exit_code": self.exit_code,
            "audits": [
                {
                    **audit.finding.to_json(),
                    "folder": str(audit.folder),
                    "tracking_problem": audit.tracking.problem,
                }
                for audit in self.audits
            ],
            "skipped": [
                {"deployment": entry.deployment, "reason": entry.reason} for entry in self.skipped
            ],
        }


def run_audits(
    settings: Settings, names: Sequence[str] = (), *, progress: Progress | None = None
) -> AuditResult:
    """Audits deployments now, due or not.

    Args:
        settings: Of `deepsigns.toml`.
        names: Which deployments; empty for all.
        progress: Told how far each one is.

    Returns:
        The findings. A deployment that another process is auditing at this moment is skipped
        and counts as one that could not be checked.

    Raises:
        ConfigurationError: Names, targets, attacks, keys or policy are wrong; nothing was
            audited.
        CouldNotCheckError: Reports cannot be written.
    """
    auditor = _Auditor(settings, progress)
    plans = plan_audits(settings, names)
    return auditor.audit(plans, busy_exit_code=3)


def run_due(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """Audits the deployments whose schedule says so; made to be called often, by cron.

    Due is computed from the signed reports alone, see `schedule.due`; what is not signed by a
    trusted key, was changed, or was moved from elsewhere does not count. Two calls at the same
    time audit a deployment once.

    Args:
        settings: Of `deepsigns.toml`.
        names: Which deployments; empty for all.
        now: An aware time; the present by default.
        progress: Told how far each one is.

    Returns:
        The findings; empty when nothing is due, and then the exit code is 0.

    Raises:
        ConfigurationError: As for `run_audits`.
        CouldNotCheckError: Reports cannot be read or written.
    """
    auditor = _Auditor(settings, progress)
    moment = now or datetime.now(UTC)
    plans = [plan for plan in plan_audits(settings, names) if auditor.due(plan, moment)]

    def still_due(plan: Plan) -> bool:
        # Asked right before each audit: a report that another process finished since counts too.
        return auditor.due(plan, max(moment, datetime.now(UTC)))

    return auditor.audit(plans, busy_exit_code=0, still_due=still_due)


def due_plans(
    settings: Settings, names: Sequence[str] = (), *, now: datetime | None = None
) -> tuple[Plan, ...]:
    """What `run_due` would audit; audits nothing.

    Raises:
        ConfigurationError: As for `run_audits`.
        CouldNotCheckError: Reports cannot be read.
    """
    auditor, moment = _Auditor(settings, None), now or datetime.now(UTC)
    return tuple(plan for plan in plan_audits(settings, names) if auditor.due(plan, moment))


class _Auditor:
    def __init__(self, settings: Settings, progress: Progress | None) -> None:
        self._settings = settings
        self._progress = progress
        self._reports = settings.file(settings.audit.reports)
        # Keys and policy are configuration: what is wrong with them is said before any work.
        self._signer = FileSigner(settings.file(settings.owner.signing_key))
        self._policy = Policy.from_settings(settings)
        if self._signer.public_pem not in map(public_pem, self._policy.keys_for("audit")):
            raise ConfigurationError(
                f"{settings.path}: the policy does not trust {settings.owner.signing_key} to "
                "sign audits, so no report of this machine would count",
                advice='add its public key to [[policy.keys]] with may_sign = ["audit"]',
            )
        owner_identity(settings.file(settings.owner.public_key))
        load_own_identity(settings.file(settings.owner.unsealing, scheme="age"))

    def due(self, plan: Plan, now: datetime) -> bool:
        answer, attempt = last_audits(self._reports, plan.deployment, self._policy, now)
        return due(plan.deployment, last_answer=answer, last_attempt=attempt, now=now)

    def audit(
        self,
        plans: Sequence[Plan],
        *,
        busy_exit_code: int,
        still_due: Callable[[Plan], bool] | None = None,
    ) -> AuditResult:
        audits: list[Audited] = []
        skipped: list[Skipped] = []
        suspects = sum(1 + len(plan.attacks) for plan in plans)
        for plan in plans:
            name = plan.deployment.name
            with exclusive(self._reports / name) as ours:
                if not ours:
                    skipped.append(
                        Skipped(name, "another process is auditing it now", busy_exit_code)
                    )
                elif still_due is not None and not still_due(plan):
                    skipped.append(Skipped(name, "another process has just audited it", 0))
                else:
                    audits.append(self._audit(plan, suspects))
        return AuditResult(tuple(audits), tuple(skipped))

    def _audit(self, plan: Plan, suspects: int) -> Audited:
        def say(fraction: float, message: str) -> None:
            if self._progress:
                self._progress(plan.deployment.name, fraction, message)

        finding = examine(self._settings, self._policy, plan, suspects=suspects, say=say)
        logged = tracking.begin(self._settings, finding)
        finding = replace(finding, tracking_run=logged.run)
        drawn = figures(finding.rows, score=finding.score)
        html = render(finding, drawn)
        folder = write_report(self._reports, finding, html, self._signer)
        logged = tracking.finish(self._settings, logged, folder, finding=finding, drawn=drawn)
        say(1.0, f"{finding.outcome}: {folder / 'report.html'}")
        return Audited(finding, folder, logged)
