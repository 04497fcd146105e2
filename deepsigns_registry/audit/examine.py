"""The audit of one deployment, from the fetched file to the finding.

Whatever goes wrong here belongs to this one deployment and becomes part of its finding; a
third party's file or attack never ends the audit of the next one.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from deepsigns_registry import __version__
from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.audit.attacking import Attacking, attacked_copies
from deepsigns_registry.audit.attested import attestation_of
from deepsigns_registry.audit.columns import Reading, columns
from deepsigns_registry.audit.expectations import judge_table
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.plan import Plan, PlannedRow
from deepsigns_registry.audit.results import DEPLOYED, Outcome, Row
from deepsigns_registry.audit.targets import fetch
from deepsigns_registry.audit.verify import (
    Candidate,
    Candidates,
    Examination,
    find_candidates,
    verify_onnx,
)
from deepsigns_registry.audit.yardstick import Yardstick, score_of
from deepsigns_registry.config import Settings
from deepsigns_registry.engine import open_engine
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError, TamperedError
from deepsigns_registry.graph.limits import Limits, limits_of
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.watermark.evidence import Correlation
from deepsigns_registry.watermark.verdict import Verdict

__all__ = ["TOOL", "examine"]

TOOL = f"deepsigns-registry/{__version__}"

Say = Callable[[float, str], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Audit:
    """What is audited, and how.

    Attributes:
        folder: Private, for the files.
        until: When the audit's time is spent, by `time.monotonic`.
    """

    settings: Settings
    policy: Policy
    plan: Plan
    suspects: int
    say: Say
    folder: Path
    until: float

    @property
    def limits(self) -> Limits:
        """What one file may cost: no more time than the audit has left."""
        known = limits_of(self.settings.sandbox)
        return replace(known, seconds=min(known.seconds, max(0.0, self.until - time.monotonic())))

    def clean(self, message: str) -> str:
        """Names the target where an error names our private copy of it."""
        target = self.plan.deployment.target
        for name, spoken in (("deployed.onnx", target), ("attacked.onnx", "the attacked file")):
            message = message.replace(str(self.folder / name), spoken)
        return message


@dataclass(frozen=True, repr=False)
class _Sought:
    """Whose marks are looked for in a file: of all candidates those among these, or all."""

    candidates: Candidates
    among: Sequence[Candidate] | None = None


@dataclass(frozen=True)
class _Found:
    """What is known so far; see `Finding`."""

    outcome: Outcome = "could-not-check"
    message: str = ""
    error_code: str = ""
    owner: str = ""
    digest: str = ""
    size: int = 0
    attestation: str = "Not looked up."
    tries: int = 0
    schemes: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    providers: tuple[str, ...] = ()
    doors: Doors | None = None
    marking: str = ""

    def failed(self, error: DeepSignsError, message: str) -> "_Found":
        """The same with an error; what was read before it stays."""
        tampered = isinstance(error, TamperedError)
        return replace(
            self,
            outcome="tampered" if tampered else "could-not-check",
            message=message,
            error_code=error.code,
            attestation="Contradicted: see above." if tampered else self.attestation,
        )


def examine(settings: Settings, policy: Policy, plan: Plan, *, suspects: int, say: Say) -> Finding:
    """Audits one deployment.

    Args:
        settings: Everything else that is needed.
        policy: Whose attestations count.
        plan: The deployment and its attacks.
        suspects: Files that this whole run reads, for the adjustment of p-values.
        say: Told the fraction in [0, 1] and what is being done.

    Returns:
        The finding; also of an audit that failed.
    """
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="deepsigns-audit-") as name:
        until = time.monotonic() + settings.sandbox.audit_seconds
        audit = _Audit(settings, policy, plan, suspects, say, Path(name), until)
        found = _Found()
        try:
            for step in _steps(audit):
                found = step
        except DeepSignsError as error:
            found = found.failed(error, audit.clean(str(error)))
        except Exception as error:  # noqa: BLE001 - the next deployment is audited all the same
            _log.exception("audit of %s", plan.deployment.name)
            text = (str(error).strip().splitlines() or [""])[0]
            failed = CouldNotCheckError(f"audit failed: {type(error).__name__}: {text}")
            found = found.failed(failed, audit.clean(str(failed)))
        return _finding(audit, found, started)


def _steps(audit: _Audit) -> Iterator[_Found]:
    """What is known after each step of an audit."""
    deployment = audit.plan.deployment
    audit.say(0.0, f"fetching {deployment.target}")
    path = fetch(audit.settings, deployment, audit.folder)
    found = _Found(digest=sha256_file(path), size=path.stat().st_size)
    yield found
    audit.say(0.05, "opening the sealed records")
    candidates = find_candidates(audit.settings, deployment.model)
    found = replace(
        found,
        owner=candidates.owner,
        tries=candidates.tries(audit.suspects),
        schemes=_schemes(candidates.candidates),
    )
    yield found
    unread = Yardstick.of(audit.settings, deployment.model)
    audit.say(0.1, "verifying the deployed file")
    sought = _Sought(candidates)
    row, examination, yardstick = _read(audit, path, Row(DEPLOYED, DEPLOYED, 0.0), unread, sought)
    if examination.marking is not None:
        among = candidates.only(examination.marking)
        sought = replace(sought, among=among)
        found = replace(found, marking=examination.marking.marking, schemes=_schemes(among))
    found = replace(
        found,
        rows=(row,),
        providers=examination.providers,
        doors=examination.doors,
        outcome=examination.verdict.word,
        message=audit.clean(_undecided_because(examination.verdict)),
    )
    yield found
    found = replace(found, attestation=attestation_of(audit.settings, examination, audit.policy))
    yield found
    for row in _attacked(audit, path, yardstick, sought):
        found = replace(found, rows=(*found.rows, row))
        yield found


def _read(
    audit: _Audit, path: Path, row: Row, yardstick: Yardstick, sought: _Sought
) -> tuple[Row, Examination, Yardstick]:
    """Verifies one file and measures how well it answers, by what the deployed file gave.

    Args:
        audit: Of which it is a part.
        path: The file.
        row: What is known of it; its seconds are added to.
        yardstick: Without targets where this is the deployed file.
        sought: Whose marks are looked for.
    """
    began, limits = time.monotonic(), audit.limits
    with OnnxSuspect(path, limits=limits) as session:
        examination = verify_onnx(
            path,
            sought.candidates,
            suspects=audit.suspects,
            among=sought.among,
            suspect=session,
            limits=limits,
        )
        row = _with_evidence(row, examination.verdict)
        if yardstick.data is None:
            problem = yardstick.problem
            row = replace(row, error=str(problem), error_code=problem.code if problem else "")
        else:
            outputs, _ = session.run(yardstick.data.validation.inputs, tap=None)
            if yardstick.targets is None:
                yardstick = yardstick.at(outputs)
            row = replace(row, accuracy=yardstick.score(outputs))
    seconds = row.seconds + time.monotonic() - began
    return replace(row, seconds=seconds), examination, yardstick


def _attacked(audit: _Audit, path: Path, yardstick: Yardstick, sought: _Sought) -> Iterator[Row]:
    """The row of each planned attack, attacked and verified."""
    planned = audit.plan.attacks
    if yardstick.data is None:
        problem = yardstick.problem or CouldNotCheckError("no training data")
        yield from (_row(entry).failed(str(problem), problem.code) for entry in planned)
        return
    settings = audit.settings
    memory = settings.sandbox.attack_memory_mib
    attacking = Attacking(
        engine=open_engine(settings.engine),
        slots=settings.engine.jobs,
        model=path.read_bytes(),
        train=yardstick.data.train,
        seed=audit.plan.model.seed,
        until=audit.until,
        memory_bytes=None if memory is None else memory << 20,
        say=audit.say,
    )
    for entry, result in attacked_copies(planned, attacking):
        row = replace(_row(entry), seconds=result.seconds)
        if result.error:
            yield row.failed(audit.clean(result.error), result.error_code)
            continue
        copy = audit.folder / "attacked.onnx"
        copy.write_bytes(result.model)
        try:
            yield _read(audit, copy, row, yardstick, sought)[0]
        except DeepSignsError as error:
            yield row.failed(audit.clean(str(error)), error.code)


def _finding(audit: _Audit, found: _Found, started: datetime) -> Finding:
    """Everything that was found, judged."""
    audit.say(0.95, "judging the results")
    plan, settings = audit.plan, audit.settings
    score = score_of(plan.model.task)
    judgement = judge_table(
        found.rows,
        plan.labels,
        schemes=found.schemes,
        score=score,
        min_accuracy=settings.audit.min_accuracy,
    )
    message = found.message
    if not message and not judgement.success:
        message = f"does not hold: {'; '.join(judgement.complaints)}"
    return Finding(
        deployment=plan.deployment.name,
        model=plan.deployment.model,
        target=plan.deployment.target,
        owner_name=settings.owner.name,
        owner=found.owner,
        outcome=found.outcome,
        message=message,
        error_code=found.error_code,
        started=started,
        finished=datetime.now(UTC),
        onnx_digest=found.digest,
        onnx_size=found.size,
        attestation=found.attestation,
        marking=found.marking,
        tries=found.tries,
        schemes=found.schemes,
        score=score,
        planned=plan.labels,
        rows=found.rows,
        judgement=judgement,
        providers=found.providers,
        doors=found.doors,
        tool=TOOL,
    )


def _row(entry: PlannedRow) -> Row:
    return Row(entry.label, entry.attack, entry.strength)


def _schemes(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    names = {name for candidate in candidates for name in candidate.record.secrets}
    return tuple(column.scheme for column in columns(names))


def _with_evidence(row: Row, verdict: Verdict) -> Row:
    readings = tuple(
        Reading(
            scheme=evidence.scheme,
            trials=evidence.trials,
            score=evidence.score,
            log10_p=evidence.log10_p,
            log10_p_adjusted=verdict.log10_p_adjusted(evidence.scheme),
            measured=isinstance(evidence, Correlation),
        )
        for evidence in verdict.evidence
    )
    return replace(row, readings=readings, verdict=verdict.word)


def _undecided_because(verdict: Verdict) -> str:
    return "; ".join(verdict.problems) if verdict.word == "undecided" else ""
