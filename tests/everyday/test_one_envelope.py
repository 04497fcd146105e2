"""Every command prints one form of document with `--json`, whatever became of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from deepsigns_registry.cli import main
from deepsigns_registry.cli.envelope import envelope

GOLDEN = Path(__file__).parents[1] / "golden"
POLICY = """[policy]
keys = [{ public_key = "signer.pub.pem", may_sign = ["watermark"] }]
"""


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = sorted(leaves(main))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, a signed model and evidence."""
    shutil.copytree(GOLDEN / "attestation" / "model", tmp_path / "model")
    shutil.copy(GOLDEN / "attestation" / "signer.pub.pem", tmp_path)
    shutil.copytree(GOLDEN / "evidence" / "v2", tmp_path / "evidence")
    (tmp_path / "deepsigns.toml").write_text(POLICY)
    monkeypatch.delenv("DEEPSIGNS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def document(result: Result) -> Any:
    found = json.loads(result.stdout)
    assert list(found) == ["answer", "exit_code", "error"]
    assert found["exit_code"] == result.exit_code
    assert found["answer"] is None or isinstance(found["answer"], dict)
    if found["error"] is None:
        assert found["answer"] is not None
        return found
    assert found["answer"] is None
    assert list(found["error"]) == ["code", "message", "advice"]
    code, message, advice = found["error"].values()
    said = f"{message}; {advice}" if advice else message
    assert result.stderr.splitlines()[-1] == f"error ({code}): {said}"
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_mistake_on_the_command_line(folder: Path, command: tuple[str, ...]) -> None:
    del folder
    found = document(run(*command, "--json", "--no-such-option"))
    assert found["exit_code"] == 2
    assert found["error"]["code"] == "usage"
    assert found["error"]["advice"].endswith(f"{' '.join(command)} --help")


ENDLESS = {("up",)}
"""These answer nothing."""


@pytest.mark.parametrize("command", sorted({*COMMANDS} - ENDLESS), ids=" ".join)
def test_every_command_has_it(command: tuple[str, ...]) -> None:
    assert "--json" in run(*command, "--help").stdout


NEEDS_SETTINGS = [
    ("gate", "fraud/1"),
    ("fetch", "fraud/1", "--out", "here"),
    ("check", "fraud/1"),
    ("status",),
    ("promote", "fraud/1"),
    ("promote", "fraud/1", "--dry-run"),
    ("worker", "--once"),
    ("verify", "evidence/suspect.onnx"),
    ("audit", "run"),
    ("audit", "run", "--dry-run"),
    ("audit", "run-due"),
    ("evidence", "export", "evidence/suspect.onnx", "--out", "new.zip"),
]


@pytest.mark.parametrize("arguments", NEEDS_SETTINGS, ids=" ".join)
def test_settings_that_are_missing(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "deepsigns.toml").unlink()
    found = document(run(*arguments, "--json"))
    assert (found["exit_code"], found["error"]["code"]) == (2, "not-found")


def test_a_folder_that_passes(folder: Path) -> None:
    del folder
    answer = document(run("gate", "model", "--json"))["answer"]
    assert (answer["verdict"], answer["uri"], answer["ignored"]) == ("allowed", "model", {})


def test_a_folder_that_was_changed(folder: Path) -> None:
    (folder / "model" / "added").write_text("")
    found = document(run("gate", "./model", "--json"))
    assert (found["exit_code"], found["error"]["code"]) == (4, "tampered")


def test_an_answer_that_is_no(folder: Path) -> None:
    del folder
    arguments = ["evidence/evidence.zip", "evidence/suspect.onnx", "--public-key"]
    found = document(run("evidence", "verify", *arguments, "evidence/signer.pub.pem", "--json"))
    assert found["exit_code"] == 3
    assert found["answer"]["verdict"] == "undecided"


def test_new_keys(folder: Path) -> None:
    answer = document(run("init", "--owner", "A", "--out", "new", "--json"))["answer"]
    assert (folder / answer["settings"]).is_file()


def test_a_worker_that_goes_on_has_no_one_answer(folder: Path) -> None:
    del folder
    found = document(run("worker", "--json"))
    assert found["error"]["message"] == "--json needs --once"


def test_numbers_that_json_does_not_have() -> None:
    found = envelope({"a": float("nan"), "b": [float("inf"), 1.5], "c": ("x", {"d": -0.0})})
    assert found["answer"] == {"a": None, "b": [None, 1.5], "c": ["x", {"d": -0.0}]}


def test_the_words_behind_two_dashes_are_no_options(folder: Path) -> None:
    del folder
    result = run("gate", "--", "--json")
    assert result.stdout == ""
    assert result.stderr.startswith("error (configuration): '--json' names no model version")


@pytest.mark.parametrize("path", [(), ("audit",), ("evidence",)], ids=["deepsigns", "audit", "ev"])
def test_summaries_in_the_help_are_not_cut(path: tuple[str, ...]) -> None:
    said = " ".join(run(*path, "--help").stdout.split())
    assert "..." not in said.replace("[ARGS]...", "")
    group: click.Command = main
    for name in path:
        assert isinstance(group, click.Group)
        group = group.commands[name]
    assert isinstance(group, click.Group)
    for command in group.commands.values():
        assert (command.help or "").split("\n\n")[0].split(".")[0] in said
