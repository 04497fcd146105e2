"""Running the project's own commands, as a person would, and showing them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.naming import command
from deepsigns_registry.quiet import OPTED_OUT

__all__ = ["Commands"]


class Commands:
    """Runs `deepsigns ...` in the demo's folder.

    Args:
        folder: Where `deepsigns.toml` is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, *arguments: str, expect: int = 0) -> int:
        """Runs a command and shows what it prints.

        Raises:
            CouldNotCheckError: It ended with another exit code than the story expects.
        """
        self._show(arguments)
        code = subprocess.run(
            self._line(arguments), cwd=self._folder, env=self._environment(), check=False
        ).returncode
        self._expected(arguments, code, {expect})
        return code

    def answer(self, *arguments: str, expect: set[int]) -> Any:
        """Runs a command with `--json` and returns its answer.

        Raises:
            CouldNotCheckError: It ended with another exit code than the story expects.
        """
        self._show(arguments)
        done = subprocess.run(
            [*self._line(arguments), "--json"],
            cwd=self._folder,
            env=self._environment(),
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expected(arguments, done.returncode, expect)
        return json.loads(done.stdout)["answer"]

    def _line(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "deepsigns_registry", *arguments]

    def _environment(self) -> dict[str, str]:
        # The demo is a world of its own: settings of the caller's shell must not reach it.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEEPSIGNS_", "MLFLOW_"))
        }
        return {**OPTED_OUT, **kept}

    @staticmethod
    def _show(arguments: tuple[str, ...]) -> None:
        click.echo(f"\n$ {command('deepsigns', *arguments)}")

    @staticmethod
    def _expected(arguments: tuple[str, ...], code: int, expected: set[int]) -> None:
        if code not in expected:
            raise CouldNotCheckError(
                f"the demo stopped: '{command('deepsigns', *arguments)}' ended with {code}",
                advice="read what it printed above",
            )
