"""Reports beside what is printed: none says yes that is not one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deepsigns_registry.cli import main
from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.formats.reports import Reports
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError

GOLDEN = Path(__file__).parents[3] / "golden" / "attestation"
POLICY = """[policy]
keys = [{ public_key = "signer.pub.pem", may_sign = ["watermark"] }]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(GOLDEN / "model", tmp_path / "model")
    shutil.copy(GOLDEN / "signer.pub.pem", tmp_path)
    (tmp_path / "deepsigns.toml").write_text(POLICY)
    monkeypatch.delenv("DEEPSIGNS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["gate", *arguments])


def test_every_report_says_what_was_printed(folder: Path) -> None:
    names = ["a.json", "a.xml", "a.sarif", "a.md"]
    options = [word for name in names for word in ("--report", name)]
    assert gate("./model", *options).exit_code == 0
    assert json.loads((folder / "a.json").read_text())["answer"]["verdict"] == "allowed"
    (folder / "model" / "added").write_text("")
    printed = gate("./model", *options, "--format", "junit")
    assert printed.exit_code == 4
    assert printed.stdout == (folder / "a.xml").read_text()
    for name in names:
        text = (folder / name).read_text()
        assert "tampered" in text
        assert "allowed" not in text


def test_before_the_answer_there_is_none(tmp_path: Path) -> None:
    meta: dict[str, Any] = {}
    (tmp_path / "a.md").write_text("allowed")
    reports = Reports("fraud/7", files=(tmp_path / "a.md",))
    reports.begin(meta)
    assert "could not check" in (tmp_path / "a.md").read_text()
    assert Reports.of(meta) is reports
    assert Reports.of({}) == Reports()


@pytest.mark.parametrize("name", ["a.pdf", "a", "no/such/folder/a.json"])
def test_a_file_that_cannot_be_is_told_before_anything_is_checked(folder: Path, name: str) -> None:
    (folder / "a.json").write_text("")
    result = gate("./model", "--report", "a.json", "--report", name)
    assert result.exit_code == 2
    assert name in result.stderr
    assert "allowed" not in (folder / "a.json").read_text()


def test_a_report_that_is_lost_is_no_yes(tmp_path: Path) -> None:
    lost, kept = tmp_path / "lost" / "a.md", tmp_path / "kept.md"
    with pytest.raises(CouldNotCheckError, match="cannot be written"):
        Reports(files=(lost, kept)).write(Finding("a"))
    assert kept.exists()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Reports(files=(lost,)).begin({})


def test_two_formats_at_once_are_a_mistake(folder: Path) -> None:
    del folder
    result = gate("./model", "--json", "--format", "junit")
    assert json.loads(result.stdout)["error"]["code"] == "usage"
    assert gate("./model", "--json", "--format", "json").exit_code == 0


def test_a_mistake_on_the_line_has_the_format_too(folder: Path) -> None:
    del folder
    result = gate("--format", "junit", "--no-such")
    assert result.exit_code == 2
    assert '<error type="usage"' in result.stdout
