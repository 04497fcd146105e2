"""The whole audit on real parts: mark, key store, sandboxed session, engine, MLflow, signature."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.report import CHECK_SIGNATURE
from deepsigns_registry.audit.run import AuditResult, Skipped, run_audits, run_due
from deepsigns_registry.audit.schedule import exclusive
from deepsigns_registry.audit.store import read_report
from deepsigns_registry.audit.verify import find_candidates
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError, NotFoundError
from tests.support.patience import HANG

pytestmark = pytest.mark.integration

Audited = Callable[..., Settings]


def only(settings: Settings) -> Finding:
    result = run_audits(settings)
    assert len(result.audits) == 1
    assert result.exit_code == result.audits[0].finding.exit_code
    return result.audits[0].finding


def test_marked_file_is_found_attacked_logged_and_signed(home: Path, audited: Audited) -> None:
    attacks = ("prune:0.5", "finetune:3", "quantize:int8")
    settings = audited(home / "marked.onnx", *attacks, jobs=2)
    told: list[tuple[str, float, str]] = []
    result = run_audits(settings, progress=lambda *event: told.append(event))
    (audit,) = result.audits
    finding = audit.finding

    assert finding.outcome == "present"
    assert finding.marking == "m1"
    assert [row.label for row in finding.rows] == ["deployed", *attacks]
    assert not any(row.error for row in finding.rows)
    assert {row.verdict for row in finding.rows} == {"present"}
    assert all((row.accuracy or 0) > 0.7 for row in finding.rows)
    assert finding.passed
    assert result.exit_code == 0
    # One commitment, four files, one candidate, three schemes and all of them together.
    assert finding.tries == 16
    fractions = [fraction for _, fraction, _ in told]
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0

    report = read_report(audit.folder, Policy.from_settings(settings))
    assert report.predicate.verdict == "present"
    assert report.predicate.passed
    assert report.predicate.onnx_digest == finding.onnx_digest
    first = finding.rows[0].reading("whitebox")
    assert first is not None
    assert report.results["rows"][0]["whitebox_bit_errors"] == first.trials - first.score
    _check_run(settings, audit.tracking.run, finding)
    _check_secrecy(settings, audit.folder)


def _check_run(settings: Settings, run: str, finding: Finding) -> None:
    client = MlflowClient(settings.tracking_uri)
    logged = client.get_run(run)
    assert logged.info.status == "FINISHED"
    assert logged.data.params["onnx_sha256"] == finding.onnx_digest
    assert logged.data.params["prune.strength_to_step"] == "10"
    assert logged.data.metrics["deployed/accuracy"] == finding.rows[0].accuracy
    curve = client.get_metric_history(run, "prune/whitebox_evidence")
    assert sorted(point.step for point in curve) == [0, 5]
    assert sorted(p.step for p in client.get_metric_history(run, "quantize/accuracy")) == [0, 8]
    files = {entry.path for entry in client.list_artifacts(run)}
    assert files == {"report.html", "results.json", "audit.sigstore.json", "curves"}
    pictures = [entry.path for entry in client.list_artifacts(run, "curves")]
    assert pictures == [f"curves/{at}.svg" for at in range(1, len(pictures) + 1)]
    note = logged.data.tags["mlflow.note.content"]
    assert note.startswith("Watermark found")
    assert all(f"get-artifact?path={path}&run_uuid={run}" in note for path in pictures)


def _check_secrecy(settings: Settings, folder: Path) -> None:
    (candidate,) = find_candidates(settings, "digits").candidates
    record = candidate.record
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    for secret in (record.tap, record.root.secret.hex(), *map(bytes.hex, record.nonces.values())):
        assert not re.search(rf"\b{secret}\b".encode(), written)


def test_report_can_be_checked_without_this_software(home: Path, audited: Audited) -> None:
    result = run_audits(audited(home / "marked.onnx"))
    folder = result.audits[0].folder
    command = [sys.executable, "-I", "-c", CHECK_SIGNATURE]

    def check(key: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command, str(home / key)], cwd=folder, check=False, capture_output=True, text=True
        )

    assert check("keys/worker.pub.pem").stdout == "signed and unchanged: app\n"
    assert "InvalidSignature" in check("keys/stranger.pub.pem").stderr
    (folder / "report.html").write_text("changed")
    assert "AssertionError: report.html" in check("keys/worker.pub.pem").stderr


def test_unmarked_file_is_not_claimed(home: Path, audited: Audited) -> None:
    finding = only(audited(home / "unmarked.onnx"))
    assert finding.outcome in {"absent", "undecided"}
    assert finding.exit_code in {1, 3}
    assert finding.marking == ""
    assert "not one that was attested" in finding.attestation


_PLUGIN = """
import os

class Die:
    name = "die"

    def parse(self, strength):
        return float(strength)

    def apply(self, model, strength, data, *, seed, progress=None):
        os.abort()
"""


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a third party's attack that ends its own process."""
    site = tmp_path / "site"
    (site / "dying-1.dist-info").mkdir(parents=True)
    (site / "dying.py").write_text(_PLUGIN)
    (site / "dying-1.dist-info/METADATA").write_text("Name: dying\nVersion: 1\n")
    (site / "dying-1.dist-info/entry_points.txt").write_text(
        "[deepsigns_registry.attacks]\ndie = dying:Die\n"
    )
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("dying")
def test_dying_attack_takes_no_other_with_it(home: Path, audited: Audited) -> None:
    finding = only(audited(home / "marked.onnx", "die:2", "quantize:int8", jobs=2))
    assert [row.error for row in finding.rows] == [
        "",
        "the process of the attack ended with SIGABRT",
        "",
    ]
    assert [row.verdict for row in finding.rows] == ["present", "undecided", "present"]
    assert finding.outcome == "present"
    assert finding.judgement.failed("complete")
    assert finding.exit_code == 3


def test_mark_is_read_even_when_the_data_is_not(home: Path, audited: Audited) -> None:
    np.savez(home / "broken.npz", x_train=np.zeros((2, 64), np.float32))
    finding = only(audited(home / "marked.onnx", "prune:0.5", data="broken.npz"))
    assert finding.outcome == "present"
    assert [row.verdict for row in finding.rows] == ["present", "undecided"]
    assert {row.error_code for row in finding.rows} == {"data"}
    assert finding.exit_code == 3


def test_accuracy_under_the_owners_minimum_is_a_no(home: Path, audited: Audited) -> None:
    finding = only(audited(home / "marked.onnx", min_accuracy=0.9999))
    assert finding.outcome == "present"
    assert finding.judgement.failed("policy")
    assert finding.message == "does not hold: The deployed file's accuracy is at least 99.99%"
    assert finding.exit_code == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gone.onnx", "no such file"),
        ("digits.npz", "digits.npz"),
        ("keys", "not a regular file"),
        ("models:/nobody@champion", "nobody"),
        ("s3://bucket/model.onnx", "cannot be reached"),
    ],
)
def test_what_cannot_be_checked_is_said_signed_and_code_3(
    target: str, message: str, audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "auditor")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    settings = audited(target, "prune:0.5")
    result = run_audits(settings)
    (audit,) = result.audits
    assert audit.finding.outcome == "could-not-check"
    assert message in audit.finding.message
    assert "deployed.onnx" not in audit.finding.message
    assert "\n" not in audit.finding.message
    assert result.exit_code == 3
    report = read_report(audit.folder, Policy.from_settings(settings))
    assert not report.answered
    assert not report.predicate.passed


@pytest.mark.parametrize(
    ("changes", "outcome", "message"),
    [
        (("[audit]", '[keystore]\nuri = "file:empty"\n[audit]'), "could-not-check", "no finished"),
        (
            ("[[policy", 'unsealing = "age:keys/other.key"\n[[policy'),
            "could-not-check",
            "not sealed to this identity",
        ),
    ],
)
def test_missing_secrets_are_not_absent_marks(
    home: Path, audited: Audited, changes: tuple[str, str], outcome: str, message: str
) -> None:
    finding = only(audited(home / "marked.onnx", changes=changes))
    assert finding.outcome == outcome
    assert message in finding.message
    assert finding.exit_code == 3


def test_other_models_have_other_keys(home: Path, audited: Audited) -> None:
    finding = only(audited(home / "marked.onnx", model="other"))
    assert finding.outcome == "could-not-check"
    assert "of model 'other'" in finding.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("prune:0.5", "prune:2"), "deployment 'app': attack prune"),
        (("prune:0.5", "melt:2"), "'melt:2' is unknown"),
        (("0 3 * * *", "0 3 * *"), "Wrong number of fields"),
        (('may_sign = ["watermark", "audit"]', 'may_sign = ["watermark"]'), "trusts nobody to"),
        (("keys/worker.pub.pem", "keys/stranger.pub.pem"), "does not trust"),
        (("[owner]", '[owner]\nsigning_key = "file:keys/none.pem"'), "none.pem: no such file"),
        (("[owner]", '[owner]\nunsealing = "age:keys/none.key"'), "none.key: no such file"),
        (('model = "digits"', 'model = "unknown"'), r"no section \[models.unknown\]"),
        (('target = "m.onnx"', 'target = "ftp://m.onnx"'), "cannot be fetched"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_done(
    audited: Audited, tmp_path: Path, changes: tuple[str, str], message: str
) -> None:
    settings = audited("m.onnx", "prune:0.5", changes=changes)
    with pytest.raises(ConfigurationError, match=message):
        run_audits(settings)
    assert list(tmp_path.iterdir()) == []


def test_unknown_deployment(audited: Audited) -> None:
    with pytest.raises(NotFoundError, match="no deployment named 'ap'; known: app"):
        run_audits(audited("m.onnx"), ["ap"])


def test_due_follows_the_signed_reports_alone(home: Path, audited: Audited) -> None:
    settings = audited(home / "marked.onnx")
    now = datetime.now(UTC)
    first = run_due(settings)
    assert [audit.finding.outcome for audit in first.audits] == ["present"]
    again = run_due(settings)
    assert again.audits == ()
    assert again.exit_code == 0
    # A day later it is due; moved here only in the argument, not in the report.
    later = run_due(settings, now=now + timedelta(days=1, minutes=1))
    assert len(later.audits) == 1
    for audit in (*first.audits, *later.audits):
        (audit.folder / "results.json").write_text("{}")
    assert len(run_due(settings).audits) == 1, "a report that was changed does not count"


def test_audit_that_could_not_check_is_due_again_after_a_while(audited: Audited) -> None:
    settings = audited("gone.onnx")
    now = datetime.now(UTC)
    assert run_due(settings).exit_code == 3
    assert run_due(settings, now=now + timedelta(minutes=5)).audits == ()
    assert len(run_due(settings, now=now + timedelta(minutes=15)).audits) == 1


_TWICE = """
import json, sys
from deepsigns_registry.audit.run import run_due
from deepsigns_registry.config import load_settings
result = run_due(load_settings(sys.argv[1]))
print(json.dumps([len(result.audits), result.exit_code]))
"""


def test_two_schedulers_at_once_audit_once(home: Path, audited: Audited, tmp_path: Path) -> None:
    settings = audited(home / "marked.onnx")
    schedulers = [
        subprocess.Popen(
            [sys.executable, "-c", _TWICE, str(settings.path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [
        json.loads(entry.communicate(timeout=HANG)[0].splitlines()[-1]) for entry in schedulers
    ]
    assert sorted(answers) == [[0, 0], [1, 0]]
    reports = [entry for entry in (tmp_path / "audits/app").iterdir() if entry.name != ".lock"]
    assert len(reports) == 1


def test_what_another_scheduler_audited_meanwhile_is_not_audited_again(
    home: Path, audited: Audited, tmp_path: Path
) -> None:
    first = (
        '[[deployments]]\nname = "first"\nmodel = "digits"\ntarget = "gone.onnx"\nattacks = []\n'
    )
    changes = ("[[deployments]]", f"{first}[[deployments]]")
    settings = audited(home / "marked.onnx", changes=changes)
    overlapping: list[AuditResult] = []

    def during(name: str, fraction: float, _message: str) -> None:
        if (name, fraction) == ("first", 1.0):
            overlapping.append(run_due(settings))

    result = run_due(settings, progress=during)
    (other,) = overlapping
    assert [audit.finding.deployment for audit in other.audits] == ["app"]
    assert [audit.finding.deployment for audit in result.audits] == ["first"]
    assert result.skipped == (Skipped("app", "another process has just audited it", 0),)
    reports = [entry for entry in (tmp_path / "audits/app").iterdir() if entry.name != ".lock"]
    assert len(reports) == 1


def test_changed_key_store_is_tampering(home: Path, audited: Audited, tmp_path: Path) -> None:
    shutil.copytree(home / "keystore", home / tmp_path.name)
    log = home / tmp_path.name / "commitments.jsonl"
    log.write_text(log.read_text().replace('"index":1', '"index":2'))
    finding = only(
        audited(
            home / "marked.onnx",
            changes=("[audit]", f'[keystore]\nuri = "file:{tmp_path.name}"\n[audit]'),
        )
    )
    assert finding.outcome == "tampered"
    assert finding.exit_code == 4
    assert "chain of commitments is broken" in finding.message


def test_finding_without_a_server_is_still_a_finding(home: Path, audited: Audited) -> None:
    settings = audited(
        home / "marked.onnx",
        changes=('tracking_uri = "sqlite:', 'tracking_uri = "http://127.0.0.1:1"#'),
    )
    result = run_audits(settings)
    assert result.audits[0].finding.outcome == "present"
    assert "does not answer" in result.audits[0].tracking.problem
    assert "does not answer" in result.audits[0].finding.attestation
    assert result.exit_code == 0


def test_busy_deployment_is_skipped_and_said(audited: Audited, tmp_path: Path) -> None:
    settings = audited("gone.onnx")
    with exclusive(tmp_path / "audits/app") as ours:
        assert ours
        asked, scheduled = run_audits(settings), run_due(settings)
    assert (asked.exit_code, scheduled.exit_code) == (3, 0)
    assert asked.to_json() == {
        "exit_code": 3,
        "audits": [],
        "skipped": [{"deployment": "app", "reason": "another process is auditing it now"}],
    }
    (only,) = run_audits(settings).to_json()["audits"]
    assert only["outcome"] == "could-not-check"
    assert Path(only["folder"]).is_dir()
