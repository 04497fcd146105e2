"""Options that several commands share, and how an answer is printed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["config_option", "json_option", "settings_of"]

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """Adds `--config`."""
    return click.option(
        "--config",
        "config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Settings file  [default: $DEEPSIGNS_CONFIG, else deepsigns.toml]",
    )(command)


def json_option(command: Command) -> Command:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def settings_of(config: Path | None) -> "Settings":
    """Loads the settings that a command was given."""
    from deepsigns_registry.config import load_settings

    return load_settings(config)
