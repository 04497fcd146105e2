"""One MLflow run for each audit: curves over the attack strength, the table and the report.

Logged are totals only. Nothing that helps to find the mark (tap, carriers, numbers of single
classes) is ever in reach of this module.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deepsigns_registry.audit.columns import columns
from deepsigns_registry.audit.curves import standalone
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.report_words import headline
from deepsigns_registry.audit.results import Row
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import DeepSignsError
from deepsigns_registry.registry.client import make_client, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Tracking", "begin", "finish", "step_scales"]

# MLflow takes 8000 characters.
_LONGEST_NOTE = 7000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracking:
    """Where an audit is logged.

    Attributes:
        run: The run's identifier; empty when it could not be started.
        problem: What could not be logged and why, in one line; empty when all went well.
        page: Address at which MLflow shows the run's curves; empty without a server.
    """

    run: str = ""
    problem: str = ""
    page: str = ""


def begin(settings: Settings, finding: Finding) -> Tracking:
    """Starts the run and logs parameters and metrics.

    An audit answers a question about a deployment; that the answer could not be logged is a
    second problem and never replaces it. So this reports problems and raises none.

    Args:
        settings: MLflow's address and the experiment's name.
        finding: What is logged.
    """
    run = ""
    try:
        with translated("MLflow"):
            client = make_client(settings.tracking_uri)
            experiment = _experiment(client, settings)
            run = str(client.create_run(experiment, run_name=finding.deployment).info.run_id)
            _log_finding(client, run, finding)
    except Exception as error:  # noqa: BLE001 - MLflow's stores raise what they like
        return Tracking(run, _problem(error))
    return Tracking(run, page=_page(settings.tracking_uri, experiment, run))


def finish(
    settings: Settings,
    tracking: Tracking,
    folder: Path,
    *,
    finding: Finding,
    drawn: Mapping[str, str],
) -> Tracking:
    """Adds the report's files to the run, makes it open on the curves, and ends it.

    Args:
        settings: As for `begin`.
        tracking: What `begin` gave.
        folder: The written report.
        finding: What was found; the run of an audit that did not pass is marked as failed.
        drawn: Attack family to its curves, from `curves.figures`.
    """
    if not tracking.run:
        return tracking
    try:
        with translated("MLflow"):
            client = make_client(settings.tracking_uri)
            client.log_artifacts(tracking.run, str(folder))
            files = {f"curves/{at}.svg": panels for at, panels in enumerate(drawn.values(), 1)}
            for path, panels in files.items():
                client.log_text(tracking.run, standalone(panels), path)
            note = _opening(tracking, files, finding)
            client.set_tag(tracking.run, "mlflow.note.content", note)
            client.set_terminated(tracking.run, "FINISHED" if finding.passed else "FAILED")
    except Exception as error:  # noqa: BLE001 - as above
        return replace(tracking, problem=tracking.problem or _problem(error))
    return tracking


def step_scales(rows: Sequence[Row]) -> dict[str, int]:
    """What strengths are multiplied by, family by family, to become MLflow's whole steps.

    Examples:
        >>> step_scales([Row("prune:0.5", "prune", 0.5), Row("prune:0.75", "prune", 0.75)])
        {'prune': 100}
    """
    families: dict[str, list[float]] = {}
    for row in rows:
        families.setdefault(row.attack, []).append(row.strength)
    return {
        family: next(
            (
                scale
                for scale in (1, 10, 100, 1000, 10_000)
                if all(abs(value * scale - round(value * scale)) < 1e-9 for value in strengths)
            ),
            100_000,
        )
        for family, strengths in families.items()
    }


def _opening(tracking: Tracking, files: Iterable[str], finding: Finding) -> str:
    """The run's description: where the curves are, the curves as pictures, and the verdict."""
    head = headline(finding)
    # MLflow's pages are one document: what stands behind # is an address inside it.
    _, _, inside = tracking.page.partition("#")
    where = f"{head.title}: [see the curves](#{inside})" if inside else head.title
    pictures = [
        f"![curves](get-artifact?path={quote(path)}&run_uuid={tracking.run})" for path in files
    ]
    return "\n\n".join([where, *pictures, *head.sentences])[:_LONGEST_NOTE]


def _page(uri: str, experiment: str, run: str) -> str:
    served = uri.startswith(("http://", "https://"))
    address = f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run}/model-metrics"
    return address if served else ""


def _experiment(client: "MlflowClient", settings: Settings) -> str:
    name = settings.audit.experiment
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if not settings.tracking_uri.startswith(("http://", "https://")):
        # Without a server MLflow would put artifacts into whatever folder this process is in.
        location = (settings.base / "mlruns").absolute().as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def _log_finding(client: "MlflowClient", run: str, finding: Finding) -> None:
    from mlflow.entities import Metric, Param, RunTag

    scales = step_scales(finding.attacked)
    params: dict[str, Any] = {
        "deployment": finding.deployment,
        "model": finding.model,
        "target": finding.target,
        "onnx_sha256": finding.onnx_digest,
        "owner": finding.owner,
        "attacks": ", ".join(finding.planned),
        "tries": finding.tries,
        "tool": finding.tool,
        **{f"{family}.strength_to_step": scale for family, scale in scales.items()},
    }
    stamp = int(finding.finished.timestamp() * 1000)
    metrics: list[Metric] = []

    def add(prefix: str, row: Row, step: int) -> None:
        metrics.extend(
            Metric(f"{prefix}{name}", value, stamp, step)
            for name, value in _numbers(row, finding.score).items()
            if value is not None
        )

    if finding.deployed is not None:
        add("deployed/", finding.deployed, 0)
        for family in scales:
            add(f"{family}/", finding.deployed, 0)
    for row in finding.attacked:
        if not row.error:
            add(f"{row.attack}/", row, round(row.strength * scales[row.attack]))
    metrics.append(Metric("passed", float(finding.passed), stamp, 0))
    client.log_batch(
        run,
        metrics=metrics,
        params=[Param(name, str(value)[:6000]) for name, value in params.items()],
        tags=[RunTag("deepsigns.verdict", finding.outcome)],
    )


def _numbers(row: Row, score: str) -> Mapping[str, float | None]:
    numbers: dict[str, float | None] = {score: row.accuracy}
    for column in columns(entry.scheme for entry in row.readings):
        reading = row.reading(column.scheme)
        if reading is not None:
            numbers[column.count_name] = column.count(reading)
            numbers[f"{column.scheme}_evidence"] = abs(reading.log10_p_adjusted)
    return numbers


def _problem(error: Exception) -> str:
    _log.debug("audit not logged to MLflow", exc_info=True)
    if isinstance(error, DeepSignsError):
        return str(error)
    line = (str(error).strip().splitlines() or [""])[0]
    return f"MLflow: {type(error).__name__}: {line[:300]}"
