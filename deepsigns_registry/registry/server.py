"""Starts a real MLflow server with the gate, on a free loopback port: for the demo and tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.quiet import OPTED_OUT

__all__ = [
    "Server",
    "free_port",
    "server_command",
    "server_environment",
    "start_server",
    "stop_group",
    "store_addresses",
    "wait_for_answer",
]

_TAIL = 3


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        uri: Its http:// address.
        database: SQLite URI of its database, readable without the server.
        log: Its log file.
        pid: Its process.
    """

    uri: str
    database: str
    log: Path
    pid: int


@contextmanager
def start_server(
    folder: Path,
    *,
    config: Path | None,
    artifacts: Literal["proxied", "local"] = "local",
    backend_uri: str | None = None,
    gated: bool = True,
    python: Path | None = None,
    environment: Mapping[str, str] | None = None,
    patience: float = 240.0,
) -> Iterator[Server]:
    """Runs `mlflow server` with the deepsigns registry store for as long as the block lasts.

    Args:
        folder: For database, artifacts and log; made if it is missing.
        config: `deepsigns.toml`; None starts a server that knows nothing is protected, and
            therefore refuses every promotion.
        artifacts: `proxied` serves the files through the server; `local` lets clients on this
            machine read them directly, also without a server.
        backend_uri: Database; by default SQLite in `folder`.
        gated: False runs MLflow's own registry store, without the plugin.
        python: The interpreter that has MLflow and the plugin; by default this one.
        environment: More variables for the server.
        patience: Seconds until it has to answer.

    Raises:
        CouldNotCheckError: It did not start; the message ends with what its log says.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    database = backend_uri or f"sqlite:///{folder / 'mlflow.db'}"
    place = (folder / "artifacts").as_uri()
    storage = (
        ["--artifacts-destination", place]
        if artifacts == "proxied"
        else ["--no-serve-artifacts", "--default-artifact-root", place]
    )
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    stores = store_addresses(database)
    if not gated:
        stores["MLFLOW_REGISTRY_STORE_URI"] = database
    command = server_command(port, storage, python=python)
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=server_environment(config, {**stores, **(environment or {})}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_answer(process, uri, patience=patience, tail=lambda: _tail(log))
        yield Server(uri, database, log, process.pid)
    finally:
        stop_group(process)


def server_command(
    port: int, storage: Sequence[str], *, host: str = "127.0.0.1", python: Path | None = None
) -> list[str]:
    """The command line of a server; where its database is, it reads in its environment.

    Args:
        port: To listen at.
        storage: MLflow's options that say where files are kept.
        host: Address to listen at.
        python: The interpreter that has MLflow and the plugin; by default this one.
    """
    return [
        *[str(python or sys.executable), "-m", "mlflow", "server"],
        *["--host", host, "--port", str(port), "--workers", "1", *storage],
    ]


def store_addresses(database: str) -> dict[str, str]:
    """The database of a server with the gate, as variables: an argument would show its password."""
    return {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_REGISTRY_STORE_URI": f"deepsigns:{database}",
    }


def server_environment(config: Path | None, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server: this process's, less what it says about another MLflow.

    Args:
        config: `deepsigns.toml`; None when the server shall know nothing of it.
        more: More variables.
    """
    # Settings of the caller's own MLflow must not reach the server.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "_MLFLOW_", "DEEPSIGNS_", "PYTEST_"))
    }
    if config is not None:
        kept["DEEPSIGNS_CONFIG"] = str(config.absolute())
    return {
        **OPTED_OUT,
        **kept,
        # The job runner starts workers of its own, which nothing here needs.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **more,
    }


def free_port() -> int:
    """A port of the loopback address at which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_answer(
    process: "subprocess.Popen[bytes]", uri: str, *, patience: float, tail: Callable[[], str]
) -> None:
    """Waits until a server answers.

    Args:
        process: The server.
        uri: Its http:// address.
        patience: Seconds until it has to answer.
        tail: What it said last, in a line.

    Raises:
        CouldNotCheckError: It ended, or does not answer.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CouldNotCheckError(
                f"the MLflow server ended with status {process.returncode}: {tail()}",
                advice="see its log",
            )
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:  # noqa: S310 - our own http address
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise CouldNotCheckError(
        f"the MLflow server did not answer within {patience:.0f} s: {tail()}",
        advice="see its log",
    )


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-_TAIL:] if line.strip())


def stop_group(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that leads a group, and everybody in it."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        if not _signal(process, ending):
            break
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            process.poll()
            if not _signal(process, 0):
                break
            time.sleep(0.05)
    process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: int) -> bool:
    """Signals the group; says whether anybody is left in it."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True
