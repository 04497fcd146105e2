"""The server and the worker beside each other: started together, ended together.

Each leads a process group of its own, so that what it starts ends with it. Their output comes out
line by line with their name in front, and without the database's password, whoever prints it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.naming import without_password
from deepsigns_registry.registry.server import (
    server_command,
    server_environment,
    stop_group,
    store_addresses,
    wait_for_answer,
)
from deepsigns_registry.trial.home import Home

__all__ = ["DATABASE_VARIABLE", "run_together"]

DATABASE_VARIABLE = "DEEPSIGNS_DATABASE"
_PATIENCE = 240.0
_LONGEST_LINE = 4000
# A shorter password would be found in ordinary words, and is no secret.
_SHORTEST_PASSWORD = 4

Say = Callable[[str], None]


def run_together(
    home: Home, say: Say, *, ready: Callable[[], None], host: str, database: str | None
) -> None:
    """Runs both until this process is interrupted, which is how it is meant to end.

    Args:
        home: The trial.
        say: Prints one line of a service.
        ready: Called once, when the server answers and the worker is started.
        host: Address to listen at.
        database: Its address; None for a SQLite file in the folder.

    Raises:
        CouldNotCheckError: One of the two ended by itself; the other one was ended then.
    """
    address = database or home.database
    masked = _Masked(say, address)
    environment = {
        **server_environment(home.config, store_addresses(address)),
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop(DATABASE_VARIABLE, None)
    stores = {name for name in store_addresses(address) if name not in os.environ}
    # A line for each request would hide all others.
    storage = [
        *["--artifacts-destination", (home.folder / "artifacts").as_uri()],
        *["--uvicorn-opts", "--no-access-log"],
    ]
    working = [sys.executable, "-m", "deepsigns_registry", "worker", "--config", str(home.config)]
    try:
        with _service(
            "server",
            server_command(home.port, storage, host=host),
            home.folder,
            environment=environment,
            say=masked,
        ) as (server, said):
            wait_for_answer(
                server, home.uri, patience=_PATIENCE, tail=lambda: " | ".join(list(said)[-3:])
            )
            quiet = {name: value for name, value in environment.items() if name not in stores}
            with _service(
                "worker",
                [*working, "--interval", "2"],
                home.folder,
                environment=quiet,
                say=masked,
            ) as (worker, _):
                ready()
                _watch({"MLflow server": server, "worker": worker})
    except KeyboardInterrupt:
        return


class _Masked:
    """Says what it is told, less the password of a database's address."""

    def __init__(self, say: Say, address: str) -> None:
        self._say = say
        self._address = address
        self._lock = threading.Lock()
        written = urlsplit(address).password or ""
        passwords = {written, unquote(written)}
        self._secrets = sorted(
            (word for word in passwords if len(word) >= _SHORTEST_PASSWORD), key=len, reverse=True
        )

    def __call__(self, line: str) -> None:
        line = line.replace(self._address, without_password(self._address))
        for secret in self._secrets:
            line = line.replace(secret, "***")
        with self._lock:
            self._say(line)


@contextmanager
def _service(
    name: str, command: Sequence[str], folder: Path, *, environment: Mapping[str, str], say: Say
) -> "Iterator[tuple[subprocess.Popen[bytes], deque[str]]]":
    """A process for as long as the block lasts, and the last lines that it said."""
    said: deque[str] = deque(maxlen=20)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    output = process.stdout
    assert output is not None  # noqa: S101 - it is a pipe

    def relay() -> None:
        for raw in iter(partial(output.readline, _LONGEST_LINE), b""):
            line = raw.decode("utf-8", "replace").rstrip()
            if line:
                said.append(line)
                say(f"{name} | {line}")

    reader = threading.Thread(target=relay, name=name, daemon=True)
    reader.start()
    try:
        yield process, said
    finally:
        with _uninterrupted():
            stop_group(process)
            reader.join(timeout=5)
            if not reader.is_alive():
                output.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keeps a second Ctrl-C from leaving something running."""
    before = {
        number: signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(services: "Mapping[str, subprocess.Popen[bytes]]") -> None:
    while True:
        for name, process in services.items():
            status = process.poll()
            if status is not None:
                raise CouldNotCheckError(
                    f"the {name} ended by itself with status {status}, and the rest was ended",
                    advice="its last lines above say why",
                )
        time.sleep(0.2)
