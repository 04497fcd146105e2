"""Files in which an answer is told besides what is printed, however the command ends."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepsigns_registry.cli.formats import ENDINGS, FORMATS
from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError

__all__ = ["Reports"]

_KEY = "deepsigns_registry.reports"


@dataclass(frozen=True)
class Reports:
    """What a command is about, and the files that get its answer.

    Attributes:
        subject: What was asked about.
        settings: The settings file, as it was named.
        files: The format of each is that of its name's ending.
    """

    subject: str = ""
    settings: str = "deepsigns.toml"
    files: tuple[Path, ...] = ()

    def begin(self, meta: MutableMapping[str, Any]) -> None:
        """Notes this for the boundary, and says in every file that no answer came yet.

        So a command that is killed leaves no file of an earlier one behind, which may have said
        yes.

        Args:
            meta: Of click's context.

        Raises:
            ConfigurationError: A file has no known ending, or cannot be written.
        """
        meta[_KEY] = self
        for file in self.files:
            if file.suffix not in ENDINGS:
                raise ConfigurationError(
                    f"{file}: its ending names no format",
                    advice=f"use one of {', '.join(ENDINGS)}",
                )
        try:
            self.write(
                Finding.of_error(
                    self.subject,
                    CouldNotCheckError("the gate did not come to its end"),
                    settings=self.settings,
                )
            )
        except CouldNotCheckError as error:
            raise ConfigurationError(error.message, advice=error.advice) from None

    def write(self, finding: Finding) -> None:
        """Writes the answer into every file.

        Raises:
            CouldNotCheckError: One cannot be written; the others are.
        """
        failed = None
        for file in self.files:
            if file.suffix not in ENDINGS:
                continue
            text = FORMATS[ENDINGS[file.suffix]](finding).rstrip("\n") + "\n"
            try:
                file.write_bytes(text.encode(errors="replace"))
            except OSError as error:
                failed = failed or CouldNotCheckError(
                    f"{file}: cannot be written: {error.strerror}",
                    advice="name a file in a folder that exists, with --report",
                )
        if failed is not None:
            raise failed

    @staticmethod
    def of(meta: MutableMapping[str, Any]) -> "Reports":
        """What `begin` noted; nothing before it."""
        found = meta.get(_KEY)
        return found if isinstance(found, Reports) else Reports()
