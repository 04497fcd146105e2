"""Progress of a marking through a real server: in the request, in an MLflow run, on the screen."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import RefusedError, UnmarkableError
from deepsigns_registry.registry.protocol import PromotionRequest
from deepsigns_registry.registry.requests import HeldLease, claim, release, report, status
from deepsigns_registry.retraining.reporting import MarkingRun, ProgressReporter, Told

pytestmark = pytest.mark.integration

Register = Callable[[str, Path], str]
EXPERIMENT = "markings-of-tests"


@pytest.fixture
def request_(
    client: MlflowClient, register: Register, plain_model: Path, name: str
) -> PromotionRequest:
    version = register(name, plain_model)
    with pytest.raises(RestException, match="is queued"):
        client.set_registered_model_alias(name, "champion", version)
    return status(client, name)[0]


@pytest.fixture
def held(client: MlflowClient, signer: FileSigner, request_: PromotionRequest) -> HeldLease:
    return claim(client, request_, signer, worker="w", ttl=600)


@pytest.fixture
def reporter(
    client: MlflowClient, signer: FileSigner, request_: PromotionRequest, held: HeldLease
) -> ProgressReporter:
    def send(told: Told) -> None:
        report(
            client,
            held,
            signer,
            request_,
            state="queued",
            detail=told.detail,
            progress=told.progress,
            judgement=told.judgement,
        )

    tags = {"deepsigns.request": request_.id}
    run = MarkingRun(client, EXPERIMENT, name=f"{request_.model}/1", tags=tags)
    return ProgressReporter(send, run=run, every=0.01)


def only_run(client: MlflowClient, request_: PromotionRequest) -> tuple[str, str, dict[str, float]]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs(
        [experiment.experiment_id], f"tags.`deepsigns.request` = '{request_.id}'"
    )
    (run,) = found
    return run.info.run_id, run.info.status, run.data.metrics


def test_the_figures_stand_in_the_request_and_in_a_run(
    client: MlflowClient, request_: PromotionRequest, reporter: ProgressReporter, tmp_path: Path
) -> None:
    judgement = {
        "score": 0.98,
        "score_name": "accuracy",
        "findings": [{"code": "duplicates", "refuses": False, "message": "3 rows stand twice"}],
        "figures": {"rows": 90},
    }
    with reporter:
        reporter(0.05, "judging the data")
        reporter.judged(judgement)
        for step in (10, 20):
            figures = {"whitebox_errors": 30 - step, "whitebox_bits": 128, "step": step}
            reporter(step / 40, f"marking, step {step} of 40", {**figures, "accuracy": 0.9})
    (told,) = status(client, request_.model)
    assert told.progress is not None
    assert (told.progress.stage, told.progress.percent) == ("marking", 50)
    assert told.progress.figures["whitebox_errors"] == 10
    assert told.progress.updated_at >= request_.requested_at
    assert told.judgement is not None
    assert told.judgement.findings[0].message == "3 rows stand twice"
    run, state, metrics = only_run(client, request_)
    assert state == "FINISHED"
    assert metrics == {"whitebox_errors": 10, "whitebox_bits": 128, "accuracy": 0.9}
    history = client.get_metric_history(run, "whitebox_errors")
    assert [(metric.step, metric.value) for metric in history] == [(10, 20), (20, 10)]
    file = client.download_artifacts(run, "judgement.json", str(tmp_path))
    assert json.loads(Path(file).read_text()) == judgement


def test_a_run_of_a_marking_that_fails_is_failed_and_says_what_everybody_may_read(
    client: MlflowClient, request_: PromotionRequest, reporter: ProgressReporter
) -> None:
    def mark() -> None:
        with reporter:
            reporter(0.3, "marking", {"accuracy": 0.5})
            raise UnmarkableError("layer 'features.1' is too narrow")

    with pytest.raises(UnmarkableError):
        mark()
    run, state, _ = only_run(client, request_)
    assert state == "FAILED"
    tags = client.get_run(run).data.tags
    assert "this model cannot be marked" in tags["deepsigns.reason"]
    assert "features" not in json.dumps(tags)


def test_a_deleted_experiment_costs_a_warning_and_no_more(
    client: MlflowClient, request_: PromotionRequest, caplog: pytest.LogCaptureFixture
) -> None:
    gone = f"gone-{request_.model}"
    client.delete_experiment(client.create_experiment(gone))
    sent: list[Told] = []
    run = MarkingRun(client, gone, name="m/1", tags={})
    with ProgressReporter(sent.append, run=run, every=0.01) as reporter:
        reporter(0.3, "marking", {"accuracy": 0.5})
        reporter(0.6, "marking", {"accuracy": 0.6})
    assert sent[-1].progress.figures == {"accuracy": 0.6}
    assert caplog.text.count("the marking is not logged") == 1


def test_a_worker_that_lost_its_lease_reports_nothing_any_more(
    client: MlflowClient,
    signer: FileSigner,
    request_: PromotionRequest,
    held: HeldLease,
    reporter: ProgressReporter,
) -> None:
    release(client, held, signer)
    with pytest.raises(RefusedError, match="does not hold the lease"):
        report(client, held, signer, request_, state="queued", detail="marking")
    with reporter:
        reporter(0.5, "marking")
    assert status(client, request_.model)[0].progress is None


def test_status_follows_a_request_to_its_end(
    *,
    client: MlflowClient,
    settings: Settings,
    signer: FileSigner,
    request_: PromotionRequest,
    held: HeldLease,
    reporter: ProgressReporter,
) -> None:
    command = [sys.executable, "-m", "deepsigns_registry", "status", f"{request_.model}/1"]
    command += ["--watch", "--config", str(settings.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline()]
        with reporter:
            figures = {"blackbox_matches": 40, "blackbox_queries": 400}
            reporter(0.4, "marking", figures)
        lines.append(watching.stdout.readline())
        report(client, held, signer, request_, state="failed", detail="the tap is too narrow")
        lines += watching.stdout.read().splitlines()
    label = f"{request_.model}/1  champion: "
    # On a slow machine it has taken long enough by then for what is left to be told.
    told = [re.sub(r", about [\d.]+ \w+ left", "", line.rstrip("\n")) for line in lines]
    assert told == [
        f"{label}queued",
        f"{label}queued  marking, 40%, black box 40 of 400 queries match",
        f"{label}failed  the tap is too narrow, black box 40 of 400 queries match",
    ]
    assert watching.returncode == 1
