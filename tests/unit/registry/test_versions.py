"""How a model or one of its versions is named."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.cli import main
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.naming import ModelName, parse_name


@pytest.mark.parametrize("scheme", ["", "models:/"])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("digits", ModelName("digits", "", "")),
        ("digits/3", ModelName("digits", "3", "")),
        ("my digits@champion", ModelName("my digits", "", "champion")),
        ("team@fraud/3", ModelName("team@fraud", "3", "")),
        ("team@fraud@champion", ModelName("team@fraud", "", "champion")),
        ("driver's model/1", ModelName("driver's model", "1", "")),
        ("team@fraud detection", ModelName("team@fraud detection", "", "")),
        ("digits@", ModelName("digits@", "", "")),
    ],
)
def test_every_form_is_read(scheme: str, text: str, name: ModelName) -> None:
    assert parse_name(scheme + text) == name


WRONG = [
    "",
    "models:/",
    "digits/",
    "digits/abc",
    "digits/3/4",
    "digits/-1",
    "digits/\u0663",
    "digits/99999999999999999999999",
    "digits/3\n",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="names no model version; write NAME") as caught:
        parse_name(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["status", "gate"])
@pytest.mark.parametrize("text", ["digits/abc", "models:/digits/99999999999999999999999"])
def test_the_commands_say_so_and_end_with_2(tmp_path: Path, command: str, text: str) -> None:
    (tmp_path / "deepsigns.toml").write_text(
        '[registry]\ntracking_uri = "http://127.0.0.1:1"\n[[policy.keys]]\n'
        'public_key = "a.pem"\nmay_sign = ["watermark"]\n'
    )
    generate_signing_key(tmp_path / "b.pem", tmp_path / "a.pem")
    config = str(tmp_path / "deepsigns.toml")
    result = CliRunner().invoke(main, [command, text, "--config", config])
    assert result.exit_code == 2
    assert result.stderr == (
        f"error (configuration): '{text}' names no model version; "
        "write NAME/VERSION or models:/NAME@ALIAS\n"
    )
