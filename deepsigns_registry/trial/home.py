"""The folder of a trial: settings and keys, made when there are none, and the server's port."""

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.initialise import initialise
from deepsigns_registry.naming import without_password
from deepsigns_registry.registry.server import free_port

__all__ = ["Home", "open_home"]

_HERE = {"127.0.0.1", "localhost"}


@dataclass(frozen=True)
class Home:
    """Where a trial keeps everything.

    Attributes:
        folder: For database, artifacts, settings and keys.
        config: The settings file.
        port: Where the server listens.
        made: Whether settings and keys were made just now.
    """

    folder: Path
    config: Path
    port: int
    made: bool

    @property
    def uri(self) -> str:
        """Address of the server, for clients on this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> str:
        """Address of the database, unless another one is named."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"


def open_home(folder: Path, *, owner: str, port: int | None = None) -> Home:
    """Makes settings and keys in an empty folder, or reads those that are there.

    Args:
        folder: Made when it does not exist.
        owner: The owner's name, for people; only used when the settings are made.
        port: Of the server; None takes that of the settings, or a free one for new settings.

    Raises:
        ConfigurationError: The folder holds other things, its settings name another server, or
            somebody listens at the port.
    """
    folder = folder.absolute()
    config = folder / "deepsigns.toml"
    made = not config.exists()
    if made:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(
                f"{folder}: is not empty, and has no deepsigns.toml",
                advice="name an empty folder, or one that `deepsigns init` made",
            )
        port = free_port() if port is None else port
        _expect_free(port)
        folder.mkdir(parents=True, exist_ok=True)
        initialise(folder, owner=owner, tracking_uri=f"http://127.0.0.1:{port}")
        return Home(folder, config, port, made=True)
    uri = load_settings(config).tracking_uri
    parts = urlsplit(uri)
    if parts.scheme != "http" or parts.hostname not in _HERE or parts.port is None:
        raise ConfigurationError(
            f"{config}: tracking_uri is {without_password(uri)}, which no server of this command "
            "can have",
            advice="set it to http://127.0.0.1:PORT, or start MLflow as docs/operations.md says",
        )
    if port not in {None, parts.port}:
        raise ConfigurationError(
            f"{config}: tracking_uri says port {parts.port}, and --port says {port}",
            advice="leave --port out, or correct tracking_uri",
        )
    _expect_free(parts.port)
    return Home(folder, config, parts.port, made=False)


def _expect_free(port: int) -> None:
    with socket.socket() as probe:
        # What MLflow's server does too: a port that was only just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be listened at: {error.strerror or error}",
                advice="end what uses it, or choose another one",
            ) from None
