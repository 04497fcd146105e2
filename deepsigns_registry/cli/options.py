"""Options that several commands share, and how an answer is printed."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deepsigns_registry.errors import ConfigurationError

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["OnDisk", "config_option", "echo_json", "json_option", "settings_of"]

Command = TypeVar("Command", bound=Callable[..., Any])


class OnDisk(click.Path):
    """A path to a file or a folder; another kind of entry there is an error in one line.

    What else may be wrong with it is told by what reads it.

    Args:
        file_okay: Whether it may be a file.
        dir_okay: Whether it may be a folder.
    """

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay)

    def convert(
        self,
        value: "str | os.PathLike[str]",
        param: click.Parameter | None,  # noqa: ARG002 - the signature is click's
        ctx: click.Context | None,  # noqa: ARG002
    ) -> Path:
        """The path.

        Raises:
            ConfigurationError: It is a folder where a file is expected, or the other way round.
        """
        # Those of Path raise for a name that is too long, or behind a closed folder.
        if not self.dir_okay and os.path.isdir(value):  # noqa: PTH112
            raise ConfigurationError(
                f"{os.fspath(value)}: is a folder, a file is expected there", advice="name a file"
            )
        if not self.file_okay and os.path.isfile(value):  # noqa: PTH113
            raise ConfigurationError(
                f"{os.fspath(value)}: is a file, a folder is expected there", advice="name a folder"
            )
        return Path(value)


def config_option(command: Command) -> Command:
    """Adds `--config`."""
    return click.option(
        "--config",
        "config",
        type=OnDisk(dir_okay=False),
        help="Settings file  [default: $DEEPSIGNS_CONFIG, else deepsigns.toml]",
    )(command)


def json_option(command: Command) -> Command:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def settings_of(config: Path | None) -> "Settings":
    """Loads the settings that a command was given."""
    from deepsigns_registry.config import load_settings

    return load_settings(config)


def echo_json(document: Mapping[str, Any]) -> None:
    """Prints a JSON document on standard output."""
    click.echo(json.dumps(document, indent=2, sort_keys=True))
