"""An audit of a model whose only mark is the one that nobody sees."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.audit.run import run_audits
from deepsigns_registry.audit.store import read_report
from deepsigns_registry.config import Settings

pytestmark = [pytest.mark.integration, pytest.mark.deep]


@pytest.fixture(scope="module")
def home(home_of_stealth: Path) -> Path:
    """Where `audited` puts its settings."""
    return home_of_stealth


def test_weights_alone_are_read_and_reported(home: Path, audited: Callable[..., Settings]) -> None:
    settings = audited(home / "hidden.onnx", "prune:0.5")
    (audit,) = run_audits(settings).audits
    finding = audit.finding
    assert finding.passed, finding.message
    assert finding.schemes == ("spread",)
    report = read_report(audit.folder, Policy.from_settings(settings))
    assert [row["verdict"] for row in report.results["rows"]] == ["present", "present"]
    page = (audit.folder / "report.html").read_text()
    assert "Black box" not in page
