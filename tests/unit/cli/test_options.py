"""What a command is given as a path: another kind of entry there is one line, with the code 2."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deepsigns_registry.cli import main
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.structure import read_model


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.setattr("sys.argv", ["deepsigns", *words])
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize(
    ("words", "wrong", "expected"),
    [
        (("verify",), "folder", "file"),
        (("status", "--config"), "folder", "file"),
        (("evidence", "export", "--out", "e.zip"), "folder", "file"),
        (("init", "--owner", "X", "--out"), "file", "folder"),
    ],
)
def test_a_path_of_the_other_kind_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    wrong: str,
    expected: str,
) -> None:
    entry = tmp_path / "entry"
    if wrong == "folder":
        entry.mkdir()
    else:
        entry.write_text("")
    found = run(monkeypatch, *words, str(entry))
    assert found.exit_code == 2
    line = f"error (configuration): {entry}: is a {wrong}, a {expected} is expected there"
    assert found.stderr == f"{line}; name a {expected}\n"


def test_it_is_told_to_machines_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(monkeypatch, "verify", "--json", str(tmp_path))
    assert json.loads(found.stdout)["error"]["code"] == "configuration"
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("target", ["nowhere.onnx", "link.onnx"])
def test_a_link_that_leads_nowhere_is_no_usage_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to(target)
    found = run(monkeypatch, "status", "--config", str(link))
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 1)
    assert str(link) in found.stderr
    with pytest.raises(CouldNotCheckError, match=r"link\.onnx: .*it is a symbolic link; name the"):
        read_model(link)


def test_a_name_that_is_too_long_is_no_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(monkeypatch, "status", "--config", "x" * 300)
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 1)
