"""The audit of one deployment, from the fetched file to the finding.

Whatever goes wrong here belongs to this one deployment and becomes part of its finding; a
third party's file or attack never ends the audit of the next one.
"""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deepsigns_registry import __version__
from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.audit.attack_job import Attacked, attack_onnx
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
from deepsigns_registry.config import Settings
from deepsigns_registry.engine import Engine, open_engine
from deepsigns_registry.engine.jobs import Figures
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError, TamperedError
from deepsigns_registry.graph.limits import limits_of
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.retraining.data import load_apart
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.watermark.data import LabelledData, Task, TrainingData
from deepsigns_registry.watermark.evidence import Correlation
from deepsigns_registry.watermark.task import SCORES, task_score
from deepsigns_registry.watermark.verdict import Verdict

__all__ = ["TOOL", "examine"]

TOOL = f"deepsigns-registry/{__version__}"

Say = Callable[[float, str], None]
# The unmarked parent is not at hand: what an embedding model lost, it lost since deployment.
_SCORES: dict[Task, str] = {**SCORES, "embedding": "cosine to the deployed file"}
_log = logging.getLogger(__name__)


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
    with tempfile.TemporaryDirectory(prefix="deepsigns-audit-") as name:
        work = _Work(
            settings=settings,
            policy=policy,
            plan=plan,
            folder=Path(name),
            suspects=suspects,
            say=say,
        )
        try:
            work.check_deployed()
            work.check_attacks()
        except DeepSignsError as error:
            work.failed(error)
        except Exception as error:  # noqa: BLE001 - the next deployment is audited all the same
            _log.exception("audit of %s", plan.deployment.name)
            text = (str(error).strip().splitlines() or [""])[0]
            work.failed(CouldNotCheckError(f"audit failed: {type(error).__name__}: {text}"))
        return work.finding()


class _Work:
    def __init__(
        self,
        *,
        settings: Settings,
        policy: Policy,
        plan: Plan,
        folder: Path,
        suspects: int,
        say: Say,
    ) -> None:
        self.settings = settings
        self.policy = policy
        self.plan = plan
        self.folder = folder
        self.suspects = suspects
        self.say = say
        self.started = datetime.now(UTC)
        self.outcome: Outcome = "could-not-check"
        self.message = ""
        self.error_code = ""
        self.owner = ""
        self.digest = ""
        self.size = 0
        self.attestation = "Not looked up."
        self.tries = 0
        self.schemes: tuple[str, ...] = ()
        self.score = _SCORES[plan.model.task]
        self.rows: list[Row] = []
        self.providers: tuple[str, ...] = ()
        self.doors: Doors | None = None
        self.marking = ""
        self.path: Path | None = None
        self.candidates: Candidates | None = None
        self.among: Sequence[Candidate] | None = None
        self.data: TrainingData | None = None
        self.targets: NDArray[Any] | None = None
        self.data_problem: DeepSignsError | None = None

    def check_deployed(self) -> None:
        """Fetches and verifies the deployed file."""
        deployment = self.plan.deployment
        self.say(0.0, f"fetching {deployment.target}")
        self.path = fetch(self.settings, deployment, self.folder)
        self.digest, self.size = sha256_file(self.path), self.path.stat().st_size
        self.say(0.05, "opening the sealed records")
        self.candidates = find_candidates(self.settings, deployment.model)
        self.owner = self.candidates.owner
        self.tries = self.candidates.tries(self.suspects)
        self.schemes = _schemes(self.candidates.candidates)
        self._load_data()
        self.say(0.1, "verifying the deployed file")
        row, examination = self._verified(Row(DEPLOYED, DEPLOYED, 0.0), self.path, 0.0)
        self.rows.append(row)
        self.providers, self.doors = examination.providers, examination.doors
        self.outcome = examination.verdict.word
        self.message = self._clean(_undecided_because(examination.verdict))
        if examination.marking is not None:
            self.marking = examination.marking.marking
            self.among = self.candidates.only(examination.marking)
            self.schemes = _schemes(self.among)
        self.attestation = attestation_of(self.settings, examination, self.policy)

    def check_attacks(self) -> None:
        """Attacks copies of the deployed file and verifies each."""
        planned = self.plan.attacks
        if self.path is None or not planned:
            return
        if self.data is None:
            problem = self.data_problem or CouldNotCheckError("no training data")
            self.rows += [_row(entry).failed(str(problem), problem.code) for entry in planned]
            return
        model = self.path.read_bytes()
        engine = open_engine(self.settings.engine)
        # As many at a time as the engine has slots: more results would only fill the memory.
        slots = self.settings.engine.jobs
        for start in range(0, len(planned), slots):
            batch = planned[start : start + slots]
            attacked = self._attacked(engine, model, self.data.train, batch, start)
            for entry, result in zip(batch, attacked, strict=True):
                self.rows.append(self._attack_row(entry, result))

    def failed(self, error: DeepSignsError) -> None:
        """Notes an error; what was read before it stays in the table."""
        self.outcome = "tampered" if isinstance(error, TamperedError) else "could-not-check"
        self.message = self._clean(str(error))
        self.error_code = error.code
        if isinstance(error, TamperedError):
            self.attestation = "Contradicted: see above."

    def finding(self) -> Finding:
        """Everything that was found, judged."""
        self.say(0.95, "judging the results")
        labels = self.plan.labels
        judgement = judge_table(
            self.rows,
            labels,
            schemes=self.schemes,
            score=self.score,
            min_accuracy=self.settings.audit.min_accuracy,
        )
        if not self.message and not judgement.success:
            self.message = f"does not hold: {'; '.join(judgement.complaints)}"
        return Finding(
            deployment=self.plan.deployment.name,
            model=self.plan.deployment.model,
            target=self.plan.deployment.target,
            owner_name=self.settings.owner.name,
            owner=self.owner,
            outcome=self.outcome,
            message=self.message,
            error_code=self.error_code,
            started=self.started,
            finished=datetime.now(UTC),
            onnx_digest=self.digest,
            onnx_size=self.size,
            attestation=self.attestation,
            marking=self.marking,
            tries=self.tries,
            schemes=self.schemes,
            score=self.score,
            planned=labels,
            rows=tuple(self.rows),
            judgement=judgement,
            providers=self.providers,
            doors=self.doors,
            tool=TOOL,
        )

    def _load_data(self) -> None:
        try:
            self.data = load_apart(self.settings, self.plan.deployment.model)
        except DeepSignsError as error:
            # The mark can be read without it; only accuracy and attacks need it.
            self.data_problem = error

    def _verified(self, row: Row, path: Path, before: float) -> tuple[Row, Examination]:
        """Verifies one file and measures its accuracy; `before` are seconds spent already."""
        if self.candidates is None:
            raise CouldNotCheckError("no sealed record was opened")
        began = time.monotonic()
        with OnnxSuspect(path, limits=limits_of(self.settings.sandbox)) as session:
            examination = verify_onnx(
                path, self.candidates, suspects=self.suspects, among=self.among, suspect=session
            )
            row = _with_evidence(row, examination.verdict)
            if self.data is None:
                problem = self.data_problem
                row = replace(row, error=str(problem), error_code=problem.code if problem else "")
            else:
                row = replace(row, accuracy=self._score(session, self.data.validation))
        return replace(row, seconds=before + time.monotonic() - began), examination

    def _score(self, session: OnnxSuspect, data: LabelledData) -> float:
        """The task's score, at least 0; of an embedding model against the deployed file."""
        outputs, _ = session.run(data.inputs, tap=None)
        if self.targets is None:
            self.targets = outputs if data.task == "embedding" else data.labels
        if data.task != "classification" and outputs.size != self.targets.size:
            raise CouldNotCheckError(
                f"the file answers with shape {outputs.shape}, the data has targets of shape "
                f"{self.targets.shape}",
                advice="give the data that this model was trained on",
            )
        score = task_score(outputs, self.targets, data.task)
        return max(score, 0.0) if math.isfinite(score) else 0.0

    def _attacked(
        self,
        engine: Engine,
        model: bytes,
        train: LabelledData,
        batch: Sequence[PlannedRow],
        start: int,
    ) -> list[Attacked]:
        jobs = [
            {"model": model, "attack": entry.label, "train": train, "seed": self.plan.model.seed}
            for entry in batch
        ]
        share = 0.8 / len(self.plan.attacks)

        def on_progress(
            index: int, fraction: float, message: str, _figures: Figures | None = None
        ) -> None:
            done = 0.15 + share * (start + index + fraction)
            self.say(min(done, 0.95), f"{batch[index].label}: {message}")

        try:
            return engine.run(attack_onnx, jobs, on_progress=on_progress)
        except CouldNotCheckError as error:
            if len(batch) == 1:
                return [Attacked(b"", 0.0, str(error), error.code)]
        # A job that is killed takes its batch with it: run them one by one to see which it was.
        return [
            self._attacked(engine, model, train, [entry], start + index)[0]
            for index, entry in enumerate(batch)
        ]

    def _attack_row(self, entry: PlannedRow, result: Attacked) -> Row:
        row = replace(_row(entry), seconds=result.seconds)
        if result.error:
            return row.failed(self._clean(result.error), result.error_code)
        path = self.folder / "attacked.onnx"
        path.write_bytes(result.model)
        try:
            return self._verified(row, path, result.seconds)[0]
        except DeepSignsError as error:
            return row.failed(self._clean(str(error)), error.code)

    def _clean(self, message: str) -> str:
        """Names the target where an error names our private copy of it."""
        target = self.plan.deployment.target
        for name, spoken in (("deployed.onnx", target), ("attacked.onnx", "the attacked file")):
            message = message.replace(str(self.folder / name), spoken)
        return message


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
