"""Audits whose record holds another set of schemes than white box and black box."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.audit.run import run_audits
from deepsigns_registry.audit.store import read_report
from deepsigns_registry.config import Settings

pytestmark = pytest.mark.integration

Audited = Callable[..., Settings]


@pytest.fixture(scope="module")
def home(home_of_schemes: Path) -> Path:
    """Where `audited` puts its settings."""
    return home_of_schemes


def test_a_plugins_mark_has_its_columns_everywhere(home: Path, audited: Audited) -> None:
    settings = audited(home / "three.onnx", "prune:0.5")
    (audit,) = run_audits(settings).audits
    finding = audit.finding
    assert finding.passed, finding.message
    assert finding.schemes == ("whitebox", "blackbox", "uchida")
    report = read_report(audit.folder, Policy.from_settings(settings))
    for row, signed in zip(report.results["rows"], report.predicate.rows, strict=True):
        assert row["uchida_trials"] == 128
        assert row["uchida_matches"] >= 120
        assert signed.log10_p["uchida"] == row["uchida_log10_p_adjusted"] < -20
        assert signed.log10_p.keys() == set(finding.schemes)
    assert '<th colspan="2">uchida</th>' in (audit.folder / "report.html").read_text()
    curve = MlflowClient(settings.tracking_uri).get_metric_history(
        audit.tracking.run, "prune/uchida_evidence"
    )
    assert len(curve) == 2


def test_a_regressor_has_no_black_box_and_its_own_score(home: Path, audited: Audited) -> None:
    section = '[models.other]\ndata = "{}.npz"'
    settings = audited(
        home / "regressor.onnx",
        "prune:0.2",
        model="other",
        changes=(section.format("digits"), section.format("numbers") + '\ntask = "regression"'),
    )
    (audit,) = run_audits(settings).audits
    finding = audit.finding
    assert finding.passed, finding.message
    assert (finding.schemes, finding.score) == (("whitebox", "spread"), "R2")
    said = [entry.about for entry in finding.judgement.expectations]
    assert "The deployed file's R2 is at least 0.5000" in said
    assert not [about for about in said if "Black box" in about or "accuracy" in about]
    page = (audit.folder / "report.html").read_text()
    assert "Black box" not in page
    assert "<th>R2</th>" in page
    logged = MlflowClient(settings.tracking_uri).get_run(audit.tracking.run).data.metrics
    assert logged["deployed/R2"] == finding.rows[0].accuracy
    assert not [name for name in logged if "accuracy" in name or "blackbox" in name]
