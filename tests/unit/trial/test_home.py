import socket
from pathlib import Path

import pytest

from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.registry.server import free_port
from deepsigns_registry.trial.home import open_home


def test_an_empty_folder_gets_settings_keys_and_a_free_port_that_stays(tmp_path: Path) -> None:
    made = open_home(tmp_path / "new", owner="Risk team")
    assert made.made
    settings = load_settings(made.config)
    assert (settings.tracking_uri, settings.owner.name) == (made.uri, "Risk team")
    assert (made.folder / "keys" / "owner.pem").is_file()
    again = open_home(tmp_path / "new", owner="somebody else", port=made.port)
    assert (again.made, again.port) == (False, made.port)
    assert load_settings(again.config).owner.name == "Risk team"
    with pytest.raises(ConfigurationError, match="and --port says 1"):
        open_home(tmp_path / "new", owner="", port=1)


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match=r"is not empty, and has no deepsigns\.toml"):
        open_home(tmp_path, owner="x")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("uri", ["https://mlflow.example", "sqlite:///mlflow.db", "http://[::1]"])
def test_settings_of_another_server_are_not_ours_to_start(tmp_path: Path, uri: str) -> None:
    made = open_home(tmp_path / "home", owner="x")
    made.config.write_text(made.config.read_text().replace(made.uri, uri))
    with pytest.raises(ConfigurationError, match="which no server of this command can have"):
        open_home(tmp_path / "home", owner="x")


def test_a_port_that_is_taken_is_said_before_anything_is_made(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ConfigurationError, match=f"port {port} cannot be listened at"):
            open_home(tmp_path / "home", owner="x", port=port)
    assert not (tmp_path / "home").exists()
