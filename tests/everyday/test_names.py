"""A model of any name that MLflow takes is promoted, asked for, gated and fetched."""

import shlex
import tomllib
from pathlib import Path

import pytest
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

from deepsigns_registry.errors import in_a_line
from tests.everyday.conftest import Register
from tests.support.story import Deepsigns

pytestmark = pytest.mark.deep

NAMES = [
    *("main.ml.fraud", "fraud detection", "team@fraud", "team@fraud v2", "driver's model"),
    *('the "best" one', 'it\'s "5"', "Ölpreis", "x" * 200, "fraud ", "fraud#2", "a;b", "$HOME"),
    *("-x", "模型", "50%", "fraud\xa0eu"),
]


def advised(said: str) -> list[str]:
    """The words of the command that a message advises, as a shell would read them."""
    _, _, line = said.partition("follow it with: deepsigns ")
    return shlex.split(line) if "$'" not in line else []


@pytest.mark.parametrize("name", NAMES)
def test_an_unmarked_version(
    client: MlflowClient, register: Register, model: Path, deepsigns: Deepsigns, name: str
) -> None:
    version = register(name, model)
    client.set_registered_model_alias(name, "other", version)
    with pytest.raises(RestException) as caught:
        client.set_registered_model_alias(name, "champion", version)
    said = caught.value.message
    # First of all that it goes on by itself.
    shown = in_a_line(f"{name}/{version}")
    assert said.startswith(f"RESOURCE_CONFLICT: [deepsigns:queued] {shown} is queued for marking")
    assert "gets the protected alias 'champion' by itself" in said
    words = advised(said)
    if words:
        done = deepsigns(*words)
        assert (done.code, "champion: queued" in done.out) == (0, True), done.err
    prefix = "models:/" if name.startswith("-") else ""
    for asked in (f"{prefix}{name}", f"models:/{name}/{version}", f"models:/{name}@champion"):
        done = deepsigns("status", asked, "--json")
        if asked.endswith("@champion"):
            assert done.code == 2
            continue
        (request,) = done.answer["requests"]
        assert (request["model"], request["state"]) == (name, "queued")
    done = deepsigns("gate", f"models:/{name}@other")
    assert done.code == 1, done.out + done.err
    assert "has no watermark attestation" in done.err


@pytest.mark.parametrize("name", ["driver's model", "team@fraud v2"])
def test_a_signed_version(
    *,
    client: MlflowClient,
    register: Register,
    signed: Path,
    deepsigns: Deepsigns,
    tmp_path: Path,
    home: Path,
    name: str,
) -> None:
    version = register(name, signed)
    done = deepsigns("promote", f"{name}/{version}", "--json")
    assert done.answer["state"] == "promoted"
    client.get_model_version_by_alias(name, "champion")
    assert deepsigns("gate", f"{name}@champion").code == 0
    out = tmp_path / "gate p1" / "deploy"
    assert deepsigns("fetch", f"models:/{name}@champion", "--out", str(out)).code == 0
    (tmp_path / "link").symlink_to(out)
    # Settings elsewhere, a folder without a dot before it, a blank, and a link.
    config = str(home / "deepsigns.toml")
    for folder in ("gate p1/deploy", "./gate p1/deploy", "link"):
        done = deepsigns("gate", folder, "--config", config, folder=tmp_path)
        assert done.code == 0, done.out + done.err


def test_the_worker_names_a_section_that_can_be_copied(
    register: Register, model: Path, deepsigns: Deepsigns
) -> None:
    name = 'the worker\'s "model" ½'
    version = register(name, model)
    assert deepsigns("promote", f"{name}/{version}").code == 0
    done = deepsigns("worker", "--once")
    line = next(line for line in done.out.splitlines() if name in line)
    section = line[line.index("no section ") + len("no section ") : line.index("; add [")]
    assert tomllib.loads(section) == {"models": {name: {}}}
