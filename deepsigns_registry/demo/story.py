"""The story: train, promote, mark, attest, gate, tamper, audit."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.demo import registration
from deepsigns_registry.demo.commands import Commands
from deepsigns_registry.demo.control import train_control
from deepsigns_registry.demo.data import load_demo_data, write_npz
from deepsigns_registry.demo.model import train_model
from deepsigns_registry.demo.summary import attack_rows, reading, table, write_summary
from deepsigns_registry.engine import open_engine
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.initialise import initialise
from deepsigns_registry.naming import command, toml_string
from deepsigns_registry.registry.client import make_client
from deepsigns_registry.registry.server import Server, start_server
from deepsigns_registry.registry.versions import download_version, resolve
from deepsigns_registry.watermark.data import TrainingData

__all__ = ["tell"]

_ALIAS = "champion"
_DEPLOYMENT = "edge"
_EPOCHS = {"digits": 20, "fashion-mnist": 4}
_SECTIONS = """
[models.{name}]
data = "training.npz"
max_accuracy_drop = 0.02

[engine]
jobs = 2

[[deployments]]
name = "{deployment}"
model = "{name}"
target = "deployed/model.onnx"
schedule = "0 3 * * *"
attacks = [
    "prune:0.3", "prune:0.5", "prune:0.7", "prune:0.9",
    "finetune:1", "finetune:3", "quantize:fp16", "quantize:int8",
]
"""
_DATABASE_NOTE = """\
# The demo has ended and its server is stopped: commands that read use the database directly.
# To promote and mark again, start the server and name its address here:
#   DEEPSIGNS_CONFIG=deepsigns.toml mlflow server --port 5000 --no-serve-artifacts \\
#     --backend-store-uri {database} \\
#     --registry-store-uri {registry} \\
#     --default-artifact-root {artifacts}
# tracking_uri = "http://127.0.0.1:5000"
tracking_uri = {setting}
"""


def tell(out: Path, *, data: str, data_folder: Path | None, replace: bool) -> dict[str, Any]:
    """Plays the whole story, prints it as it goes, and writes `summary.json`.

    Args:
        out: Folder for everything; must not exist, or hold an earlier demo to replace.
        data: One of `demo.data.DATA_SETS`.
        data_folder: Of the four IDX files, for `fashion-mnist`.
        replace: Whether an earlier demo may be replaced.

    Returns:
        The content of `summary.json`.

    Raises:
        ConfigurationError: The folder exists, or the data cannot be found.
        CouldNotCheckError: A step of the story went another way than it should.
    """
    started = time.monotonic()
    out = out.absolute()
    _make_room(out, replace=replace)
    training = load_demo_data(data, data_folder)
    story = _Story(out, data, training)
    summary = story.tell()
    summary["seconds"] = round(time.monotonic() - started, 1)
    write_summary(summary, out / "summary.json")
    labels = load_settings(summary["config"]).deployments[0].attacks
    click.echo(f"\n{table(summary, labels)}\n")
    click.echo(f"report    {summary['audit']['report']}")
    click.echo(f"settings  {summary['config']}")
    click.echo(f"summary   {out / 'summary.json'}")
    gate = command("deepsigns", "gate", f"models:/{data}@{_ALIAS}")
    click.echo(f"\nGo on from there:  {command('cd', out)} && {gate}")
    return summary


def _make_room(out: Path, *, replace: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    # Only what a demo made is ever deleted.
    if not (replace and (out / "summary.json").is_file() and (out / "deepsigns.toml").is_file()):
        raise ConfigurationError(
            f"{out}: exists already",
            advice="choose another folder, or --replace an earlier finished demo",
        )
    shutil.rmtree(out)


class _Story:
    def __init__(self, out: Path, name: str, data: TrainingData) -> None:
        self._out = out
        self._name = name
        self._data = data
        self._commands = Commands(out)
        self._server: Server | None = None

    def tell(self) -> dict[str, Any]:
        _chapter(1, f"settings, keys and a real MLflow server ({len(self._data.train)} samples)")
        self._out.mkdir(parents=True, exist_ok=True)
        write_npz(self._data, self._out / "training.npz")
        sections = _SECTIONS.format(name=self._name, deployment=_DEPLOYMENT)
        config = initialise(self._out, owner="Demo owner", sections=sections)
        with start_server(self._out / "mlflow", config=config) as server:
            _set_tracking_uri(config, server.uri)
            click.echo(f"MLflow with the deepsigns plugin answers at {server.uri}")
            summary = self._with_server(server, load_settings(config))
        note = _DATABASE_NOTE.format(
            database=command(server.database),
            registry=command(f"deepsigns:{server.database}"),
            artifacts=command((self._out / "mlflow" / "artifacts").as_uri()),
            setting=toml_string(server.database),
        )
        _set_tracking_uri(config, server.database, note)
        return summary

    def _with_server(self, server: Server, settings: Settings) -> dict[str, Any]:
        source = self._train_and_register(server)
        promotion = self._promote(server, source)
        gate = self._gate_and_tamper()
        control, unmarked = self._control(settings, source)
        _chapter(6, "whose model is it? the marked file, and the same training without the mark")
        marked_reading = self._verify("deployed/model.onnx", {0})
        unmarked_reading = self._verify(unmarked.name, {1, 3})
        results, report = self._audit()
        deployed = self._out / "deployed"
        return {
            "baseline_accuracy": control,
            "marked_accuracy": results["rows"][0]["accuracy"],
            "bits": results["rows"][0]["whitebox_bits"],
            "marked": marked_reading,
            "unmarked": unmarked_reading,
            "promotion": promotion,
            "gate": gate,
            "audit": {"attacks": attack_rows(results), "report": str(report)},
            "attestation": {
                "bundle": str(deployed / "deepsigns" / "watermark.sigstore.json"),
                "model_signature": str(deployed / "deepsigns" / "model.sigstore.json"),
                "public_key": str(self._out / "keys" / "worker.pub.pem"),
                "model_dir": str(deployed),
            },
            "onnx": str(deployed / "model.onnx"),
            "config": str(settings.path),
        }

    def _train_and_register(self, server: Server) -> str:
        _chapter(2, "train a CNN and register it, with plain torch and plain MLflow")
        with _progress("training") as progress:
            model = train_model(self._data, epochs=_EPOCHS[self._name], seed=0, progress=progress)
        version = registration.register(model, self._data, name=self._name, tracking_uri=server.uri)
        click.echo(f"registered {self._name}/{version}")
        return version

    def _promote(self, server: Server, source: str) -> dict[str, Any]:
        _chapter(3, f"promote it: set the alias {_ALIAS}, as any script does")
        status, message = registration.post_alias(
            server.uri, name=self._name, alias=_ALIAS, version=source
        )
        click.echo(f"HTTP {status}: {message}")
        if status != 409:
            raise CouldNotCheckError(f"the demo stopped: HTTP {status}, and 409 was expected")
        self._commands.run("status", f"{self._name}/{source}")
        _chapter(4, "the worker marks it, signs it, registers it and moves the alias")
        self._commands.run("worker", "--once")
        self._commands.run("status", f"{self._name}/{source}")
        champion = resolve(make_client(server.uri), f"models:/{self._name}@{_ALIAS}")
        return {
            "first_attempt_status": status,
            "source_version": int(source),
            "marked_version": int(champion.version),
            "alias_version": int(champion.version),
        }

    def _gate_and_tamper(self) -> dict[str, int]:
        _chapter(5, "the gate in CI, a verified deployment, and one changed byte")
        uri = f"models:/{self._name}@{_ALIAS}"
        passed = self._commands.run("gate", uri)
        self._commands.run("fetch", uri, "--out", "deployed")
        shutil.copytree(self._out / "deployed", self._out / "tampered")
        _change_one_byte(self._out / "tampered" / "model.onnx")
        tampered = self._commands.run("gate", "./tampered", expect=4)
        return {"exit_code": passed, "tampered_exit_code": tampered}

    def _control(self, settings: Settings, source: str) -> tuple[float, Path]:
        client = make_client(settings.tracking_uri)
        folder = download_version(
            client, resolve(client, f"{self._name}/{source}"), self._out / "unmarked"
        )
        onnx = self._out / "unmarked.onnx"
        with _progress("control") as progress:
            (accuracy,) = open_engine(settings.engine).run(
                train_control,
                [
                    {
                        "source": folder,
                        "config": settings.path,
                        "model": self._name,
                        "onnx": onnx,
                    }
                ],
                on_progress=lambda _index, fraction, message, _figures=None: progress(
                    fraction, message
                ),
            )
        return accuracy, onnx

    def _verify(self, onnx: str, expect: set[int]) -> dict[str, Any]:
        result = reading(self._commands.answer("verify", onnx, expect=expect))
        whitebox, blackbox = result["whitebox"], result["blackbox"]
        click.echo(
            f"{result['verdict']}: {whitebox['bit_errors']} bit errors (log10 p "
            f"{whitebox['log10_p']:.1f}), {blackbox['matches']} of {blackbox['queries']} queries "
            f"(log10 p {blackbox['log10_p']:.1f})"
        )
        return result

    def _audit(self) -> tuple[dict[str, Any], Path]:
        _chapter(7, "audit the deployed ONNX file: prune, fine-tune and quantise copies of it")
        self._commands.run("audit", "run", _DEPLOYMENT)
        folder = max((self._out / "audits" / _DEPLOYMENT).glob("*/results.json")).parent
        results: dict[str, Any] = json.loads((folder / "results.json").read_text())
        return results, folder / "report.html"


def _chapter(number: int, title: str) -> None:
    click.echo(click.style(f"\n{number}. {title}", bold=True))


@contextmanager
def _progress(label: str) -> Iterator[Callable[[float, str], None]]:
    """A moving line on a terminal; silence in a log, where these steps are short."""
    terminal = sys.stderr.isatty()

    def show(fraction: float, message: str) -> None:
        if terminal:
            click.echo(f"\r{label} {fraction:4.0%} {message:<40}", nl=False, err=True)

    yield show
    if terminal:
        click.echo("\r" + " " * 60 + "\r", nl=False, err=True)


def _set_tracking_uri(config: Path, uri: str, lines: str = "") -> None:
    current = next(
        line for line in config.read_text().splitlines() if line.startswith("tracking_uri = ")
    )
    text = lines or f"tracking_uri = {toml_string(uri)}\n"
    config.write_text(config.read_text().replace(f"{current}\n", text, 1), encoding="utf-8")


def _change_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
