"""The files under deploy/: linters read them, and each command in them is one that exists."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import dockerfile_parse
import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from yamllint import linter
from yamllint.config import YamlLintConfig

from deepsigns_registry.cli import main

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
STYLE = YamlLintConfig("{extends: default, rules: {line-length: {max: 110}}}")
OURS = {"deepsigns:light": "light", "deepsigns:server": "server", "deepsigns:worker": "worker"}


@pytest.fixture(scope="session")
def mlflow_options() -> set[str]:
    """What `mlflow server` takes."""
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "server", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"--[a-z-]+", done.stdout))


def documents() -> "Iterator[tuple[str, dict[str, Any]]]":
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            yield f"{path.name}: {document['kind']}", document


def containers(part: object) -> "Iterator[dict[str, Any]]":
    """Everything in a document that names an image."""
    if isinstance(part, dict):
        if isinstance(part.get("image"), str):
            yield part
        for value in part.values():
            yield from containers(value)
    elif isinstance(part, list):
        for value in part:
            yield from containers(value)


def calls() -> "Iterator[tuple[str, list[str]]]":
    """Target and arguments of every container of ours, and of every image's own command."""
    compose = yaml.safe_load(COMPOSE.read_text())
    for container in containers([compose, *(document for _, document in documents())]):
        if container["image"] in OURS:
            yield OURS[container["image"]], container.get("args") or container["command"]
    target = ""
    for step in dockerfile_parse.DockerfileParser(str(DOCKERFILE)).structure:
        if step["instruction"] == "FROM":
            target = step["value"].split(" AS ")[1]
        elif step["instruction"] == "CMD":
            yield target, yaml.safe_load(step["value"])
    page = (DEPLOY / "README.md").read_text()
    for line in re.findall(r"^deepsigns (.*)$", page, re.MULTILINE):
        yield "light", shlex.split(line)


def parsed(group: click.Command, words: list[str], name: str) -> None:
    """Parses a command line as click does, and calls nothing."""
    if words == ["--help"]:
        return
    context = group.make_context(name, list(words))
    if isinstance(group, click.Group):
        rest = [*context._protected_args, *context.args]
        found, command, rest = group.resolve_command(context, rest)
        assert command is not None
        parsed(command, rest, str(found))


def test_the_yaml_is_well_formed() -> None:
    for path in (COMPOSE, *MANIFESTS):
        problems = list(linter.run(path.read_text(), STYLE, str(path)))
        assert not problems, (path.name, problems)


@pytest.mark.parametrize(("_name", "document"), list(documents()))
def test_kubernetes_would_take_it(_name: str, document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    for container in containers(document):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]


def test_compose_would_take_it() -> None:
    project = PyCompose.from_yaml(COMPOSE.read_text())
    project.validate()
    assert {"database", "server", "worker"} == set(project.service_names())


def test_the_dockerfile_is_as_hadolint_wants_it() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("target", "words"), list(calls()))
def test_every_command_is_one_that_exists(
    target: str, words: list[str], mlflow_options: set[str]
) -> None:
    if target == "server":
        assert {word for word in words if word.startswith("--")} <= mlflow_options
    else:
        parsed(main, words, "deepsigns")


def test_the_targets_are_built_from_extras_that_exist_and_the_light_ones_without_torch() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def needs(extra: str) -> set[str]:
        found = set(extras[extra])
        for need in extras[extra]:
            inner = re.fullmatch(r"deepsigns-registry\[(.*)\]", need)
            for name in inner[1].split(",") if inner else ():
                found |= needs(name)
        return found

    named = {
        target: re.findall(r"'\.\[(\w+)\]'", text)
        for target, text in re.findall(
            r" AS (\w+)\n(.*?)(?=\nFROM|\Z)", DOCKERFILE.read_text(), re.DOTALL
        )
    }
    assert named == {"base": [], "light": ["verify"], "server": ["postgres"], "worker": ["gpu"]}
    for extra in ("verify", "postgres"):
        assert not [need for need in needs(extra) if need.startswith("torch")]
    assert [need for need in needs("gpu") if need.startswith("torch")]


def test_compose_builds_the_targets_and_gives_private_keys_to_the_worker_alone() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    built = {
        service["image"]: service["build"]["target"]
        for service in services.values()
        if "build" in service
    }
    assert built.items() <= OURS.items()
    mounted = " ".join(services["server"]["volumes"])
    assert not re.search(r"worker\.pem|sealing\.key|/settings:", mounted)
    for _, document in documents():
        named = str(document)
        if "deepsigns:server" in named or "deepsigns:light" in named:
            assert "deepsigns-worker-keys" not in named


def test_no_source_of_packages_is_named_and_nothing_secret_written_down() -> None:
    for path in (DOCKERFILE, COMPOSE, *MANIFESTS, DEPLOY / "README.md"):
        text = path.read_text()
        assert not re.search(r"index-url|extra-index|trusted-host", text), path
        for host in re.findall(r"https?://([\w.-]+)", text):
            assert host in {"127.0.0.1", "server", "deepsigns-server"}, (path, host)
        for word in re.findall(r"postgresql://\w+:([^@]+)@", text):
            assert word.startswith("${"), path
