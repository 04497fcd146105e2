"""Signed reports on disk: written whole or not at all, and believed only when their signature fits.

<reports>/<deployment>/<time>/report.html         for people
<reports>/<deployment>/<time>/results.json        for machines
<reports>/<deployment>/<time>/audit.sigstore.json the signed statement about both
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.files import read_small
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.attestation.statement import (
    AuditPredicate,
    AuditRow,
    audit_statement,
    parse_audit,
)
from deepsigns_registry.attestation.verification import verify_statement
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.results import DEPLOYED, Row
from deepsigns_registry.bounded.documents import read_json
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError, TamperedError
from deepsigns_registry.sections import Deployment

__all__ = [
    "BUNDLE",
    "REPORT",
    "RESULTS",
    "SignedReport",
    "last_audits",
    "read_report",
    "reports_of",
    "write_report",
]

REPORT, RESULTS, BUNDLE = "report.html", "results.json", "audit.sigstore.json"

_TIME = "%Y%m%dT%H%M%S.%fZ"
# The statement must name a digest. That of no bytes at all is no model's, so it can stand for
# "nothing was fetched" and will never match a file that somebody wants to pass.
_NOTHING = hashlib.sha256(b"").hexdigest()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SignedReport:
    """A report whose signature, digests and place are good.

    Attributes:
        folder: Where it lies.
        predicate: The signed statement.
        results: Content of `results.json`, covered by the signature.
    """

    folder: Path
    predicate: AuditPredicate
    results: dict[str, Any]

    @property
    def answered(self) -> bool:
        """Whether the audit reached an answer about the deployed file."""
        return self.results.get("outcome") != "could-not-check"


def write_report(reports: Path, finding: Finding, html: str, signer: FileSigner) -> Path:
    """Writes and signs a report; nobody ever sees half of one.

    Args:
        reports: Folder of all reports.
        finding: What the audit found.
        html: The rendered report.
        signer: The auditor's key.

    Returns:
        The report's folder.

    Raises:
        CouldNotCheckError: The folder cannot be written.
    """
    parent = reports / finding.deployment
    folder = parent / finding.started.astimezone(UTC).strftime(_TIME)
    results = json.dumps(finding.to_json(), indent=2, allow_nan=False) + "\n"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=parent))
        try:
            _write(draft / REPORT, html)
            _write(draft / RESULTS, results)
            digests = {name: sha256_file(draft / name) for name in (REPORT, RESULTS)}
            statement = audit_statement(
                {"model.onnx": finding.onnx_digest or _NOTHING, **digests},
                _predicate(finding, digests[REPORT]),
            )
            _write(draft / BUNDLE, signer.sign_statement(statement))
            draft.chmod(0o755)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise CouldNotCheckError(
            f"audit report {folder}: cannot be written: {error.strerror}",
            advice="check [audit] reports and the free space",
        ) from None
    return folder


def read_report(folder: Path, policy: Policy) -> SignedReport:
    """Reads a report and checks that it is what was signed, where it was put.

    Args:
        folder: One report, `<reports>/<deployment>/<time>`.
        policy: Whose signatures count for audits.

    Raises:
        ConfigurationError: The policy trusts nobody to sign audits.
        NotFoundError: A file of the report is missing.
        TamperedError: The signature is bad, a file was changed, or the report was moved here
            from another deployment or another time.
    """
    bundle = read_small(folder / BUNDLE).decode("utf-8", errors="replace")
    verified = verify_statement(bundle, policy, "audit", what=str(folder / BUNDLE))
    predicate = parse_audit(verified.predicate)
    for name in (REPORT, RESULTS):
        if sha256_file(folder / name) != verified.subjects.get(name):
            raise TamperedError(f"{folder / name}: is not the file that was signed")
    time = predicate.started_at.astimezone(UTC).strftime(_TIME)
    if (folder.parent.name, folder.name) != (predicate.deployment, time):
        raise TamperedError(
            f"{folder}: the signed report is of '{predicate.deployment}' at {time}",
            advice="a report counts only where it was written",
        )
    try:
        results = read_json(read_small(folder / RESULTS))
    except UnreadableError as error:
        raise TamperedError(f"{folder / RESULTS}: {error}") from None
    return SignedReport(folder, predicate, results)


def reports_of(reports: Path, deployment: str, policy: Policy) -> Iterator[SignedReport]:
    """Valid reports of a deployment, the newest first; others are left out with a warning."""
    try:
        entries = list(os.scandir(reports / deployment))
    except FileNotFoundError:
        return
    except OSError as error:
        raise CouldNotCheckError(
            f"audit reports {reports / deployment}: cannot be read: {error.strerror}"
        ) from None
    names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    policy.keys_for("audit")
    for name in sorted((name for name in names if not name.startswith(".")), reverse=True):
        try:
            yield read_report(reports / deployment / name, policy)
        except (DeepSignsError, ValueError) as error:
            _log.warning("audit report %s does not count: %s", name, error)


def last_audits(
    reports: Path, deployment: Deployment, policy: Policy, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """When a deployment was last audited with an answer, and when last at all.

    Reports of another target do not count, since that file was another one, and reports from
    the future do not, since a clock that was wrong must not stop audits for years.

    Returns:
        End of the last audit that answered, and of the last of any outcome; see
        `schedule.due`.
    """
    last_attempt: datetime | None = None
    for report in reports_of(reports, deployment.name, policy):
        finished = report.predicate.finished_at
        if report.predicate.target != deployment.target or finished > now:
            continue
        last_attempt = last_attempt or finished
        if report.answered:
            return finished, last_attempt
    return None, last_attempt


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)


def _predicate(finding: Finding, report_digest: str) -> AuditPredicate:
    word = finding.outcome
    return AuditPredicate(
        deployment=finding.deployment,
        target=finding.target,
        model=finding.model,
        onnx_digest=finding.onnx_digest or _NOTHING,
        verdict="undecided" if word in {"could-not-check", "tampered"} else word,
        rows=tuple(_row(row) for row in finding.rows),
        report_digest=report_digest,
        passed=finding.passed,
        started_at=finding.started,
        finished_at=finding.finished,
        tool=finding.tool,
    )


def _row(row: Row) -> AuditRow:
    return AuditRow(
        attack="none" if row.label == DEPLOYED else row.attack,
        strength=row.strength,
        accuracy=row.accuracy,
        log10_p={entry.scheme: entry.log10_p_adjusted for entry in row.readings},
        verdict=row.verdict,
    )
