"""Each command says in one line which extra it needs, and runs with no more than that."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest

from deepsigns_registry.cli import main
from deepsigns_registry.cli.extras import EXTRAS, ExtraCommand, not_installed
from tests.support.lacking import only, without
from tests.support.patience import HANG

ROOT = Path(__file__).parents[3]
EVIDENCE = ROOT / "tests/golden/evidence/v2"

RUN_EACH = """
import json, os, sys
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
from click.testing import CliRunner
from deepsigns_registry.cli import main

found = {}
for line in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, line, env={"DEEPSIGNS_CONFIG": "settings.toml"})
    found[" ".join(line)] = result.exit_code, result.stderr
print(json.dumps(found))
"""
CALL = """
import sys
from deepsigns_registry.cli import main
main(sys.argv[1:], prog_name="deepsigns")
"""


def commands(group: click.Group, *names: str) -> Iterator[tuple[list[str], click.Command]]:
    """Every command that does something, as it is called."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield [*names, name, *_arguments(command)], command


def _arguments(command: click.Command) -> list[str]:
    """The fewest that click takes."""
    given: list[str] = []
    for parameter in command.params:
        if parameter.required and isinstance(parameter, click.Option):
            given += [parameter.opts[0], f"{parameter.name}.file"]
    return given + [
        f"some-{parameter.name}/1"
        for parameter in command.params
        if parameter.required and isinstance(parameter, click.Argument)
    ]


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def on_a_base_installation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and standard error of every command, by its line."""
    folder = tmp_path_factory.mktemp("base")
    lines = [line for line, _ in commands(main)]
    (folder / "settings.toml").write_text('[registry]\ntracking_uri = "http://127.0.0.1:9"\n')
    # `init` writes where it is started, so that all are started in a folder of their own.
    code = f"{only()}\nimport os\nos.chdir({str(folder)!r})\n{RUN_EACH}"
    done = run(code, json.dumps(lines))
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("line", "command"), [*commands(main)])
def test_a_base_installation_knows_what_a_command_lacks(
    line: list[str],
    command: click.Command,
    on_a_base_installation: dict[str, tuple[int, str]],
) -> None:
    code, said = on_a_base_installation[" ".join(line)]
    assert "internal error" not in said
    assert "No module named" not in said
    if isinstance(command, ExtraCommand):
        assert code == 2
        assert said.count("\n") == 1
        assert f"'deepsigns-registry[{command.extra}]'" in said
    else:
        assert "deepsigns-registry[" not in said


def test_those_that_need_an_extra_are_those_that_compute() -> None:
    needing = {
        " ".join(word for word in line if "/" not in word and "." not in word): command.extra
        for line, command in commands(main)
        if isinstance(command, ExtraCommand)
    }
    assert {name.partition(" --")[0]: extra for name, extra in needing.items()} == {
        "audit run": "worker",
        "audit run-due": "worker",
        "check": "worker",
        "demo": "worker",
        "evidence export": "verify",
        "evidence verify": "verify",
        "up": "worker",
        "verify": "verify",
        "worker": "worker",
    }


def test_an_extra_brings_every_module_that_is_asked_for() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = document["project"]["optional-dependencies"]
    providing = packages_distributions()
    for extra, modules in EXTRAS.items():
        names = {_plain(line) for line in _lines(listed, extra)}
        for module in modules:
            brought = {_plain(name) for name in providing.get(module, [])} | {module}
            assert brought & names, f"{extra} does not bring {module}"


def test_the_two_builds_of_onnxruntime_exclude_each_other() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = document["project"]["optional-dependencies"]
    builds = {
        extra: {_plain(line) for line in _lines(listed, extra) if "onnxruntime" in line}
        for extra in ("verify", "worker", "gpu", "dev", "benchmarks")
    }
    assert builds["verify"] == builds["worker"] == {"onnxruntime"}
    worker, gpu = ({*_lines(listed, extra)} for extra in ("worker", "gpu"))
    assert {_plain(line) for line in worker ^ gpu} == {"onnxruntime", "onnxruntime-gpu"}
    markers = [line.partition(";")[2].strip() for line in gpu - worker]
    assert len(markers) == 2
    here = [marker for marker in markers if _holds(marker, "linux", "x86_64")]
    elsewhere = [marker for marker in markers if _holds(marker, "darwin", "arm64")]
    assert len(here) == len(elsewhere) == 1
    assert here != elsewhere


def _holds(marker: str, platform: str, machine: str) -> bool:
    named = {"sys_platform": platform, "platform_machine": machine}
    return bool(eval(marker, {"__builtins__": {}}, named))  # noqa: S307 - our own file


def _lines(listed: dict[str, list[str]], extra: str) -> Iterator[str]:
    for line in listed[extra]:
        inner = re.fullmatch(r"deepsigns-registry\[(.*)\]", line)
        if inner is None:
            yield line
        else:
            for other in inner[1].split(","):
                yield from _lines(listed, other)


def _plain(name: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", name)[0].lower().replace("_", "-")


def evidence_arguments() -> list[str]:
    return [
        "evidence", "verify", str(EVIDENCE / "evidence.zip"), str(EVIDENCE / "suspect.onnx"),
        "--public-key", str(EVIDENCE / "signer.pub.pem"),
        "--attestation", str(EVIDENCE / "known.sigstore.json"),
    ]  # fmt: skip


def test_evidence_is_verified_with_the_light_extra_alone() -> None:
    done = run(f"{only(['verify'])}\n{CALL}", *evidence_arguments())
    assert done.returncode == 0, done.stderr
    assert "\npresent: " in done.stdout


def test_one_package_that_is_missing_is_named() -> None:
    done = run(f"{without('onnxruntime')}\n{CALL}", *evidence_arguments())
    assert done.returncode == 2
    assert done.stderr == (
        "error (configuration): deepsigns evidence verify needs onnxruntime, which is not "
        "installed; pip install 'deepsigns-registry[verify]'\n"
    )


def test_the_demo_needs_the_plugin_too(tmp_path: Path) -> None:
    arguments = ["demo", "--out", str(tmp_path / "demo")]
    done = run(f"{without('mlflow_deepsigns')}\n{CALL}", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("needs mlflow_deepsigns, which is not installed; "
        "pip install mlflow-deepsigns\n")  # fmt: skip


def test_a_driver_that_is_missing_in_the_middle_of_a_command_is_named(tmp_path: Path) -> None:
    config = tmp_path / "deepsigns.toml"
    key = ROOT / "tests/golden/attestation/signer.pub.pem"
    config.write_text(
        '[registry]\ntracking_uri = "postgresql://127.0.0.1:9/none"\n'
        f'[policy]\nkeys = [{{ public_key = "{key}", may_sign = ["watermark"] }}]\n'
    )
    arguments = ["gate", "models:/fraud/1", "--config", str(config)]
    done = run(f"{without('psycopg')}\n{CALL}", *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.endswith("; pip install 'deepsigns-registry[postgres]'\n")


def test_what_no_extra_brings_is_a_fault_of_ours() -> None:
    assert not_installed(ModuleNotFoundError(name="deepsigns_registry.cli.nothing")) is None
    assert not_installed(ModuleNotFoundError()) is None
