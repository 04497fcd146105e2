"""What a marking says while it runs: to the person beside it, to the registry, to MLflow.

The marking is never held up and never fails for it: a thread of its own sends the last state
every few seconds, and what cannot be sent is left out.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deepsigns_registry.errors import DeepSignsError, RefusedError
from deepsigns_registry.registry.client import translated
from deepsigns_registry.registry.figures import LONGEST_NAME, kept_figures, plain, stage_of
from deepsigns_registry.registry.progress import (
    LONGEST_TEXT,
    LONGEST_WORDS,
    MOST_FINDINGS,
    DataFinding,
    DataJudgement,
    Progress,
)
from deepsigns_registry.registry.remaining import Remaining

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from deepsigns_registry.engine.jobs import Figures, JobProgress

__all__ = ["MarkingRun", "ProgressReporter", "Told", "public_judgement"]

_log = logging.getLogger(__name__)

_UNLOGGED = {"step"}
# MLflow takes 1000 metrics at once.
_MOST_METRICS = 1000


@dataclass(frozen=True)
class Told:
    """What the registry is told of a request.

    Attributes:
        detail: What is being done, for people.
        progress: The same for machines, and the evidence so far.
        judgement: What was found in the data; None before it was judged.
    """

    detail: str
    progress: Progress
    judgement: DataJudgement | None = None


class ProgressReporter:
    """A `JobProgress` that tells the registry and an MLflow run what it is told itself.

    A message begins with the stage, up to the first comma or colon. Use it as a context: what
    was said last is sent when it ends, and nothing is sent afterwards.

    Args:
        send: Tells the registry; called in a thread, and may be slow or fail.
        run: Where the figures are logged; None for nowhere.
        show: Shows the progress to a person; called at once.
        reason: Why the last attempt ended, if there was one.
        every: Least seconds between two reports.
        clock: Seconds that go on; for the estimate of the time left.

    Examples:
        >>> sent = []
        >>> with ProgressReporter(sent.append) as reporter:
        ...     reporter(0.5, "marking, step 10 of 20", {"accuracy": 0.9})
        >>> sent[-1].progress.stage, sent[-1].progress.percent, sent[-1].progress.figures
        ('marking', 50.0, {'accuracy': 0.9})
    """

    def __init__(
        self,
        send: Callable[[Told], None],
        *,
        run: "MarkingRun | None" = None,
        show: "JobProgress | None" = None,
        reason: str = "",
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._run = run
        self._show = show
        self._every = every
        self._remaining = Remaining(clock)
        self._lock = threading.Lock()
        self._told = Told("", Progress(reason=plain(reason, LONGEST_TEXT)))
        self._logged: deque[_Entry] = deque(maxlen=_MOST_METRICS)
        self._document: Mapping[str, object] | None = None
        self._news, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._news.set()
        self._thread.join()
        if self._run is None:
            return
        if error is None:
            self._run.end("FINISHED")
        elif isinstance(error, DeepSignsError):
            self._run.end("FAILED", error.public)
        else:
            self._run.end("KILLED")

    def __call__(self, fraction: float, message: str, /, figures: "Figures | None" = None) -> None:
        """Takes a fraction in [0, 1], a message, and what was measured since, if anything was."""
        if self._show:
            self._show(fraction, message, figures)
        measured = kept_figures(figures or {})
        share = min(max(fraction, 0.0), 1.0)
        with self._lock:
            before = self._told.progress
            progress = Progress(
                stage=plain(stage_of(message), LONGEST_NAME),
                percent=round(100 * share, 1),
                seconds_left=self._remaining.seconds(share),
                figures=kept_figures({**before.figures, **measured}),
                reason=before.reason,
            )
            self._told = replace(self._told, detail=message, progress=progress)
            if measured:
                self._logged.append(_Entry(measured, time.time()))
        self._news.set()

    def judged(self, document: Mapping[str, object]) -> None:
        """Takes the judgement of the data: what `Judgement.to_json()` of `fitness` gives."""
        with self._lock:
            self._told = replace(self._told, judgement=public_judgement(document))
            self._document = document
        self._news.set()

    def because(self, reason: str) -> Told:
        """What was told last, with a reason why it ended or goes another way."""
        with self._lock:
            progress = self._told.progress.model_copy(
                update={"reason": plain(reason, LONGEST_TEXT)}
            )
            self._told = replace(self._told, progress=progress)
            return self._told

    def _deliver(self) -> None:
        """Sends what is new, until it is told to stop; what came last is sent before that."""
        sending, last = True, self._told
        while True:
            self._news.wait()
            self._news.clear()
            stopping = self._stop.is_set()
            with self._lock:
                told, entries, document = self._told, list(self._logged), self._document
                self._logged.clear()
                self._document = None
            if sending and told != last:
                sending, last = self._sent(told), told
            if self._run is not None:
                self._run.log(entries, document)
            if stopping:
                return
            self._stop.wait(self._every)

    def _sent(self, told: Told) -> bool:
        """Sends one report; whether another one is worth sending."""
        try:
            self._send(told)
        except RefusedError as error:
            _log.debug("progress is not wanted any more: %s", error)
            return False
        except Exception as error:  # noqa: BLE001 - a report that is lost must not end a marking
            _log.warning("progress could not be reported: %s", _first_line(error))
        return True


@dataclass(frozen=True)
class _Entry:
    figures: Mapping[str, float]
    seconds: float


class MarkingRun:
    """The MLflow run of one marking; it begins with the first thing that there is to log.

    It names the model, the version and the request. Nothing that tells where the mark sits is
    ever given to it. When MLflow refuses something, one warning says so and the rest is left out.

    Args:
        client: Of the MLflow server.
        experiment: Name of the experiment; made when there is none.
        name: Of the run, such as `fraud/7`.
        tags: Of the run.
    """

    def __init__(
        self, client: "MlflowClient", experiment: str, *, name: str, tags: Mapping[str, str]
    ) -> None:
        self._client = client
        self._experiment = experiment
        self._name = name
        self._tags = dict(tags)
        self._id = ""
        self._refused = False
        self._steps = 0

    def log(self, entries: "list[_Entry]", judgement: Mapping[str, object] | None = None) -> None:
        """Logs figures as metrics, and the judgement of the data as `judgement.json`."""
        if entries:
            self._guarded(lambda run: self._client.log_batch(run, metrics=self._metrics(entries)))
        if judgement is not None:
            self._guarded(lambda run: self._client.log_dict(run, dict(judgement), "judgement.json"))

    def end(self, status: str, reason: str = "") -> None:
        """Ends the run, if it ever began."""
        if not self._id:
            return
        if reason:
            text = plain(reason, LONGEST_TEXT)
            self._guarded(lambda run: self._client.set_tag(run, "deepsigns.reason", text))
        # Even when something else was refused: a run must not look as if it still went on.
        self._refused = False
        self._guarded(lambda run: self._client.set_terminated(run, status))

    def _metrics(self, entries: "list[_Entry]") -> list[Any]:
        from mlflow.entities import Metric

        metrics = []
        for entry in entries:
            self._steps = int(entry.figures.get("step", self._steps + 1))
            metrics += [
                Metric(name, value, round(entry.seconds * 1000), self._steps)
                for name, value in entry.figures.items()
                if name not in _UNLOGGED
            ]
        return metrics[-_MOST_METRICS:]

    def _guarded(self, log: "Callable[[str], object]") -> None:
        if self._refused:
            return
        try:
            with translated(f"MLflow's experiment '{self._experiment}'"):
                if not self._id:
                    self._id = self._begin()
                log(self._id)
        except Exception as error:  # noqa: BLE001 - MLflow's stores raise what they like
            self._refused = True
            _log.warning("%s: the marking is not logged: %s", self._name, _first_line(error))

    def _begin(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._made()
        run = self._client.create_run(experiment, run_name=self._name, tags=self._tags)
        return str(run.info.run_id)

    def _made(self) -> str:
        return str(self._client.create_experiment(self._experiment))


def public_judgement(document: Mapping[str, Any]) -> DataJudgement:
    """The judgement of the data as a request can carry it: short, and bounded.

    Args:
        document: `score`, `score_name`, `findings` (each with `code`, `refuses`, `message`,
            `advice`) and `figures`; what is missing is left out.

    Examples:
        >>> found = {"code": "exchanged", "refuses": True, "message": "3 and 5 look exchanged"}
        >>> public_judgement({"score": 0.77, "findings": [found]}).fit
        False
    """
    score = document.get("score")
    findings = sorted(document.get("findings") or (), key=lambda finding: not finding["refuses"])
    figures = document.get("figures") or {}
    return DataJudgement(
        score=kept_figures({"score": score}).get("score") if score is not None else None,
        score_name=plain(str(document.get("score_name") or ""), LONGEST_NAME),
        findings=tuple(
            DataFinding(
                code=plain(str(finding["code"]), LONGEST_NAME),
                refuses=bool(finding["refuses"]),
                message=plain(str(finding.get("message") or ""), LONGEST_WORDS),
                advice=plain(str(finding.get("advice") or ""), LONGEST_WORDS),
            )
            for finding in findings[:MOST_FINDINGS]
        ),
        figures=kept_figures({name: n for name, n in figures.items() if n is not None}),
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
