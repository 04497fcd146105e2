"""What a person wrote is understood, and what is printed for one can be copied."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.naming import (
    ModelName,
    command,
    folder_in,
    key_of,
    parse_name,
    parse_version,
    section_of,
    version_name,
)

# What MLflow takes for a name, on one line.
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/:"), min_size=1)


@given(NAMES, st.integers(1, 999_999_999))
def test_a_printed_version_is_read_as_that_version(name: str, number: int) -> None:
    assert parse_version(version_name(name, number)) == ModelName(name, str(number), "")


@given(NAMES, st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True))
def test_an_alias_is_what_stands_behind_the_last_sign(name: str, alias: str) -> None:
    assert parse_name(f"models:/{name}@{alias}") == ModelName(name, "", alias)


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_a_printed_key_is_the_key_in_toml(parts: list[str]) -> None:
    found: object = tomllib.loads(f"{key_of(*parts)} = 1")
    for part in parts:
        assert isinstance(found, dict)
        found = found[part]
    assert found == 1
    assert tomllib.loads(f"{section_of(parts[0])}\na = 1") == {"models": {parts[0]: {"a": 1}}}


ODD = [
    *("fraud", "fraud detection", "team@fraud", "driver's model", 'the "best"', "Ölpreis", "a;b"),
    *("$HOME", "`id`", "a\\b", "it's $5", "fraud ", "#1", "50%", "a!b", "*", "~root", "模型"),
    *("fraud\xa0eu", "a'\xa0\\b", "(a)", "{a,b}", "a|b", "a&b", "<a>", "a\tb", "\U0001f600\u200b"),
]


@pytest.mark.parametrize("name", ODD)
def test_a_shell_reads_the_words_that_were_meant(name: str) -> None:
    line = command("printf", "%s|", name, "end")
    assert line.isprintable()
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert done.stdout.decode() == f"{name}|end|"


def test_a_name_that_begins_like_an_option_or_a_path_is_printed_as_a_model() -> None:
    assert version_name("-x", 1) == "models:/-x/1"
    assert version_name(".x", 1) == "models:/.x/1"


@pytest.mark.parametrize("text", ["", "models:/", "digits", "digits/abc", "digits/3/4"])
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="names no model version"):
        parse_version(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "gate p1" / "deploy").mkdir(parents=True)
    (tmp_path / "fraud" / "1").mkdir(parents=True)
    (tmp_path / "link").symlink_to("gate p1/deploy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", ["gate p1/deploy", "./gate p1/deploy", "link", "./link", "link/"])
def test_a_folder_is_found_however_it_is_written(here: Path, text: str) -> None:
    assert folder_in(text) == (here / "gate p1" / "deploy").resolve()


def test_what_may_be_a_version_is_one_unless_it_is_written_as_a_path(here: Path) -> None:
    assert folder_in("fraud/1") is None
    assert folder_in("models:/fraud/1") is None
    assert folder_in("./fraud/1") == (here / "fraud" / "1").resolve()


@pytest.mark.parametrize(
    "text", ["", "fraud", "nowhere/here", "x" * 5000, "a\0b", "fraud@champion"]
)
def test_what_is_no_folder_is_left_to_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder_in(text) is None


def test_a_path_that_is_not_there_is_a_path() -> None:
    assert folder_in("./no/such") == Path("no/such")
