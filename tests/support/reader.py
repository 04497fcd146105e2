"""Somebody who does what a page says: its blocks of code, in order, in a folder.

The current environment stands for the one that a page installs, and a free port for 5000.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.patience import HANG
from tests.support.samples import Block, fits

_PORT = "5000"
_OURS = ("DEEPSIGNS_", "MLFLOW_")


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = str(free.getsockname()[1])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        tools = str(Path(sys.executable).parent)
        self._environment = kept | {
            "PATH": os.pathsep.join([tools, kept["PATH"]]),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self._folder = folder
        self._terminals: list[subprocess.Popen[bytes]] = []
        self._printed: str | None = None

    def follow(self, block: Block) -> None:
        """Does what one block says."""
        text = block.text.replace(_PORT, self._port)
        if block.language == "text":
            assert self._printed is not None, block.text
            assert fits(text, self._printed), f"{text}\nis not what was printed:\n{self._printed}"
        elif block.language == "bash" and "install" in block.title:
            assert "pip install" in text
        elif block.language == "bash" and "stays open" in block.title:
            self._open_terminal(text)
        elif block.language == "bash":
            self._printed = self._run(text)
            self._settle()
        elif "at the end" in block.title:
            with (self._folder / block.title.split(",")[0]).open("a", encoding="utf-8") as file:
                file.write("\n" + text)
        else:
            (self._folder / block.title).write_text(text, encoding="utf-8")

    def _settle(self) -> None:
        # What `deepsigns init` writes names the port as well.
        settings = self._folder / "deepsigns.toml"
        text = settings.read_text(encoding="utf-8")
        settings.write_text(text.replace(f":{_PORT}", f":{self._port}"), encoding="utf-8")

    def _run(self, text: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", text],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=HANG,
        )
        assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _open_terminal(self, text: str) -> None:
        log = self._folder / "terminal.log"
        with log.open("ab") as printed:
            terminal = subprocess.Popen(
                ["bash", "-c", text],
                cwd=self._folder,
                env=self._environment,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )
        self._terminals.append(terminal)
        until = time.monotonic() + HANG
        while not self._answers():
            assert terminal.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.5)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def close(self) -> None:
        """Closes the terminals."""
        for terminal in self._terminals:
            os.killpg(terminal.pid, signal.SIGTERM)
            terminal.wait(timeout=HANG)


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    person = Reader(folder)
    try:
        yield person
    finally:
        person.close()
