"""What one audit of one deployment found: the content of `results.json` and of the report."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deepsigns_registry.audit.columns import ALWAYS_WRITTEN, columns
from deepsigns_registry.audit.expectations import Judgement
from deepsigns_registry.audit.results import (
    DEPLOYED,
    EXIT_CODES,
    Outcome,
    Row,
    deployed_row,
)
from deepsigns_registry.errors import worst_exit_code
from deepsigns_registry.sandbox.doors import Doors

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One deployment, audited once.

    Attributes:
        deployment: Its name in the settings.
        model: The registered model it should be.
        target: Where the file was fetched from.
        owner_name: The owner, for people.
        owner: The owner's identity (hex), which is what counts.
        outcome: What was found about the deployed file.
        message: Why, in one line: the error, the step that could not run, or the expectation
            that does not hold; empty when there is nothing to say.
        error_code: Stable code of the error, empty without one.
        started: Aware time.
        finished: Aware time.
        onnx_digest: SHA-256 (hex) of the deployed file; empty when it could not be fetched.
        onnx_size: Its bytes.
        attestation: What is known about this exact file, in one sentence.
        marking: Identifier of the marking whose mark was read, empty when none was.
        tries: What the p-values are adjusted for.
        schemes: The schemes that were looked for, those of the marking's record; empty when no
            record was opened.
        score: What the rows' `accuracy` is for this model's task, `accuracy` or `R2`.
        planned: Labels of the planned attacks.
        rows: The results table.
        judgement: The expectations over the table.
        providers: Execution providers that really ran the file.
        doors: What was closed in the room where it ran; None when nothing ran.
        tool: Name and version of the software.
        tracking_run: MLflow run, empty when it could not be logged.
    """

    deployment: str
    model: str
    target: str
    owner_name: str
    owner: str
    outcome: Outcome
    message: str
    error_code: str
    started: datetime
    finished: datetime
    onnx_digest: str
    onnx_size: int
    attestation: str
    marking: str
    tries: int
    schemes: tuple[str, ...]
    score: str
    planned: tuple[str, ...]
    rows: tuple[Row, ...]
    judgement: Judgement
    providers: tuple[str, ...]
    tool: str
    tracking_run: str = ""
    doors: Doors | None = None

    @property
    def deployed(self) -> Row | None:
        """The row of the deployed file, if the audit came so far."""
        return deployed_row(self.rows)

    @property
    def attacked(self) -> tuple[Row, ...]:
        """The rows of the attacked copies."""
        return tuple(row for row in self.rows if row.label != DEPLOYED)

    @property
    def passed(self) -> bool:
        """Whether the mark was found and every expectation holds."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The answer as an exit code (PROTOCOLS: 4 over 1 over 3 over 0).

        The outcome of the deployed file decides, joined by 1 when the owner's own requirement
        is missed and by 3 when a step could not run. What an attack does to the mark is
        measured, not judged: every mark yields to a strong enough attack.
        """
        codes = [EXIT_CODES[self.outcome]]
        if self.judgement.failed("policy"):
            codes.append(1)
        if self.judgement.failed("complete") or self.judgement.failed("sound"):
            codes.append(3)
        return worst_exit_code(codes)

    def to_json(self) -> dict[str, Any]:
        """The content of `results.json`."""
        written = columns([*ALWAYS_WRITTEN, *self.schemes])
        return {
            "deployment": self.deployment,
            "model": self.model,
            "target": self.target,
            "owner": {"name": self.owner_name, "identity": self.owner},
            "outcome": self.outcome,
            "passed": self.passed,
            "exit_code": self.exit_code,
            "message": self.message,
            "error_code": self.error_code,
            "started": self.started.isoformat(),
            "finished": self.finished.isoformat(),
            "onnx": {"sha256": self.onnx_digest, "size": self.onnx_size},
            "attestation": self.attestation,
            "marking": self.marking,
            "tries": self.tries,
            "schemes": list(self.schemes),
            "score": self.score,
            "planned": list(self.planned),
            "rows": [row.to_json(written) for row in self.rows],
            "expectations": self.judgement.to_json(),
            "providers": list(self.providers),
            "sandbox": None if self.doors is None else self.doors.to_json(),
            "tool": self.tool,
            "tracking_run": self.tracking_run,
        }
