import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.audit.columns import Reading
from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.store import (
    BUNDLE,
    REPORT,
    RESULTS,
    last_audits,
    read_report,
    reports_of,
    write_report,
)
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError, TamperedError
from deepsigns_registry.sections import Deployment

MakeFinding = Callable[..., Finding]
APP = Deployment(name="app", model="digits", target="models/app.onnx")


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    generate_signing_key(tmp_path / "keys/a.pem", tmp_path / "keys/a.pub.pem")
    return FileSigner(tmp_path / "keys/a.pem")


@pytest.fixture
def policy(tmp_path: Path, signer: FileSigner) -> Policy:
    assert signer.path.exists()
    return Policy.trusting([tmp_path / "keys/a.pub.pem"], "audit")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def test_written_report_is_read_back(
    reports: Path, finding: MakeFinding, signer: FileSigner, policy: Policy
) -> None:
    folder = write_report(reports, finding(), "<html>", signer)
    assert folder == reports / "app" / "20261123T030000.000000Z"
    assert {path.name for path in folder.iterdir()} == {REPORT, RESULTS, BUNDLE}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    report = read_report(folder, policy)
    assert report.answered
    assert report.predicate.verdict == "present"
    assert [row.attack for row in report.predicate.rows] == ["none", "prune"]
    assert report.results == json.loads(json.dumps(finding().to_json()))


def test_statement_holds_every_scheme_that_was_read(
    reports: Path,
    finding: MakeFinding,
    reading: Callable[..., Reading],
    signer: FileSigner,
    policy: Policy,
) -> None:
    readings = (reading("whitebox"), reading("uchida", log10_p_adjusted=-7.5))
    rows = (replace(finding().rows[0], readings=readings),)
    report = read_report(write_report(reports, finding(rows=rows), "", signer), policy)
    assert report.predicate.rows[0].log10_p == {"whitebox": -37.9, "uchida": -7.5}


def test_audit_without_a_file_is_signed_too(
    reports: Path, finding: MakeFinding, signer: FileSigner, policy: Policy
) -> None:
    failed = finding(outcome="could-not-check", onnx_digest="", rows=())
    report = read_report(write_report(reports, failed, "", signer), policy)
    assert not report.answered
    assert report.predicate.verdict == "undecided"


def _changed(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")


def _moved(folder: Path, where: Path) -> None:
    where.parent.mkdir(exist_ok=True)
    shutil.copytree(folder, where)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", [REPORT, RESULTS, BUNDLE])
def test_changed_or_missing_file_does_not_count(
    reports: Path, finding: MakeFinding, signer: FileSigner, policy: Policy, name: str
) -> None:
    folder = write_report(reports, finding(), "<html>", signer)
    _changed(folder, name)
    with pytest.raises(TamperedError):
        read_report(folder, policy)
    (folder / name).unlink()
    with pytest.raises(DeepSignsError, match="no such file"):
        read_report(folder, policy)
    assert list(reports_of(reports, "app", policy)) == []


def test_report_of_another_deployment_or_time_does_not_count(
    reports: Path, finding: MakeFinding, signer: FileSigner, policy: Policy
) -> None:
    folder = write_report(reports, finding(), "<html>", signer)
    later = folder.with_name("20991123T030000.000000Z")
    _moved(folder, later)
    with pytest.raises(TamperedError, match="the signed report is of 'app' at 2026"):
        read_report(later, policy)
    other = reports / "other" / folder.name
    _moved(later, other)
    assert list(reports_of(reports, "other", policy)) == []


def test_strangers_signature_does_not_count(
    tmp_path: Path, reports: Path, finding: MakeFinding, policy: Policy
) -> None:
    generate_signing_key(tmp_path / "keys/b.pem", tmp_path / "keys/b.pub.pem")
    write_report(reports, finding(), "<html>", FileSigner(tmp_path / "keys/b.pem"))
    now = finding().started + timedelta(hours=1)
    assert last_audits(reports, APP, policy, now) == (None, None)


def test_last_audits(
    reports: Path, finding: MakeFinding, signer: FileSigner, policy: Policy
) -> None:
    start = finding().started
    day = timedelta(days=1)

    def write(number: int, **changes: object) -> None:
        times = {"started": start + number * day, "finished": start + number * day}
        write_report(reports, finding(**times, **changes), "", signer)

    assert last_audits(reports, APP, policy, start) == (None, None)
    write(0)
    write(1, outcome="absent")
    write(2, outcome="could-not-check")
    write(3, target="elsewhere.onnx")
    write(9)
    (reports / "app" / ".draft-x").mkdir()
    (reports / "app" / "20990101T000000.000000Z").mkdir()
    (reports / "app" / "note.txt").write_text("not a report")
    assert last_audits(reports, APP, policy, start + 4 * day) == (start + day, start + 2 * day)
    assert last_audits(reports, APP, policy, start + 9 * day)[0] == start + 9 * day


def test_nothing_is_left_when_the_report_cannot_be_written(
    reports: Path, finding: MakeFinding, signer: FileSigner
) -> None:
    write_report(reports, finding(), "first", signer)
    with pytest.raises(CouldNotCheckError, match="cannot be written"):
        write_report(reports, finding(), "second, at the same instant", signer)
    (only,) = (reports / "app").iterdir()
    assert (only / REPORT).read_text() == "first"
