"""`deepsigns up` from an empty folder to a marked version, and its end."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepsigns_registry.demo.data import load_demo_data, write_npz
from deepsigns_registry.demo.model import train_model
from deepsigns_registry.demo.registration import register
from tests.support.patience import HANG

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "deepsigns_registry"]
SECTION = """
[models.digits]
data = "training.npz"
max_accuracy_drop = 0.02
"""


@contextmanager
def running(folder: Path, *more: str) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """The command, and its server's address, once it is ready."""
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            # A shell's background job ignores what Ctrl-C sends, and so would all that it starts.
            ["env", "--default-signal=INT", *COMMAND, "up", "--dir", str(folder), *more],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        deadline = time.monotonic() + HANG
        while (ready := re.search(r"^ready: +(http\S+)", log.read_text(), re.MULTILINE)) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield process, ready[1]
    finally:
        process.kill()
        process.wait()


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that name the folder, or have it as their own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().replace("\0", " ")
            if str(folder) in words or (process / "cwd").readlink() == folder:
                found.append(words)
        except OSError:
            continue
    return found


def test_from_an_empty_folder_to_a_marked_version_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    data = load_demo_data("digits")
    with running(folder, "--owner", "Risk team") as (process, uri):
        write_npz(data, folder / "training.npz")
        config = folder / "deepsigns.toml"
        config.write_text(config.read_text() + SECTION)
        model = train_model(data, epochs=6, seed=0, progress=lambda _fraction, _message: None)
        version = register(model, data, name="digits", tracking_uri=uri)
        assert version == "1"
        kept = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
        for words in (["promote", "digits/1"], ["status", "digits/1", "--watch"]):
            done = subprocess.run(
                [*COMMAND, *words, "--config", str(config)],
                env=kept,
                capture_output=True,
                text=True,
                check=False,
                timeout=HANG,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    said = folder.with_suffix(".log").read_text()
    assert "worker | promoted: digits/1: champion -> digits/2" in said
    assert said.rstrip().endswith("ended: MLflow server and worker")
    assert left_running(folder) == []


@pytest.mark.parametrize(
    ("words", "name"), [("deepsigns_registry worker", "worker"), ("mlflow server", "MLflow server")]
)
def test_when_one_dies_the_other_is_ended_and_the_exit_code_says_so(
    tmp_path: Path, words: str, name: str
) -> None:
    folder = tmp_path / "trial"
    with running(folder) as (process, _):
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid), "-f", words],
            capture_output=True,
            text=True,
            check=True,
        )
        os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
        assert process.wait(timeout=60) == 3
    said = folder.with_suffix(".log").read_text()
    assert f"the {name} ended by itself with status -9, and the rest was ended" in said
    assert left_running(folder) == []


def test_a_password_is_in_no_log_and_no_argument(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    address = "postgresql://mlflow:hidden-word@127.0.0.1:1/mlflow"
    process = subprocess.Popen(
        [*COMMAND, "up", "--dir", str(folder), "--database", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + HANG
    while not left_running(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    seen = ""
    while process.poll() is None and "server" not in seen and time.monotonic() < deadline:
        seen = "\n".join(left_running(folder))
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert "mlflow server" in seen
    for text in (seen, out, *(path.read_text() for path in folder.glob("*.toml"))):
        assert "hidden-word" not in text
    assert left_running(folder) == []
