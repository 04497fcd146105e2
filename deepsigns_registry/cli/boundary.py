"""Where errors become one line and an exit code; nothing else in `cli/` catches them."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from deepsigns_registry.cli.extras import not_installed
from deepsigns_registry.cli.formats import FORMATS, asked_format
from deepsigns_registry.cli.formats.finding import Finding
from deepsigns_registry.cli.formats.reports import Reports
from deepsigns_registry.cli.printing import echo, keep_logs_plain
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, DeepSignsError

__all__ = ["BoundaryGroup", "WholeSummaries"]

_USAGE = "usage"


class WholeSummaries(click.Group):
    """A command group whose help shows the first sentence of each command, not cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Called by click, with this name."""
        rows = [
            (name, command.get_short_help_str(limit=1000))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class BoundaryGroup(WholeSummaries):
    """A command group whose errors end as one clear line on standard error.

    With `--json` or another `--format` the same error also goes to standard output, for machines.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs the command line; a mistake in it ends like every other error."""
        words = list(sys.argv[1:] if args is None else args)
        self._format = asked_format(words)
        if not standalone_mode:
            return super().main(words, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(words, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            code = self._usage(error)
        except click.exceptions.Abort:
            code = self._said(CouldNotCheckError("interrupted"))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; every error leaves here with its exit code."""
        # MLflow reads this when it is imported; its notes would stand between our lines.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        keep_logs_plain()
        # Service managers end a process with this signal: clean up as after an interrupt.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except DeepSignsError as error:
            code = self._said(error, Reports.of(ctx.meta))
        except KeyboardInterrupt:
            code = self._said(CouldNotCheckError("interrupted"), Reports.of(ctx.meta))
        except BrokenPipeError:
            # The reader of our output went away; Python would complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = CouldNotCheckError.exit_code
        except Exception as error:
            lacking = not_installed(error) if isinstance(error, ModuleNotFoundError) else None
            if lacking is None and os.environ.get("DEEPSIGNS_DEBUG"):
                raise
            code = self._said(lacking or _internal(error), Reports.of(ctx.meta))
        raise click.exceptions.Exit(code)

    def _usage(self, error: click.ClickException) -> int:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else self.name or "deepsigns"
        said = ConfigurationError(error.format_message().rstrip("."), advice=f"see: {path} --help")
        return self._said(said, code=_USAGE)

    def _said(
        self, error: DeepSignsError, reports: Reports | None = None, *, code: str = ""
    ) -> int:
        reports = reports or Reports()
        finding = Finding.of_error(reports.subject, error, code=code, settings=reports.settings)
        if self._format != "text":
            click.echo(FORMATS[self._format](finding))
        try:
            reports.write(finding)
        except CouldNotCheckError as failed:
            # Of two errors the first one counts.
            echo(f"warning: {failed}", err=True)
        echo(f"error ({finding.code}): {error}", err=True)
        return error.exit_code


def _internal(error: Exception) -> CouldNotCheckError:
    logging.getLogger(__name__).debug("internal error", exc_info=error)
    text = (str(error).strip().splitlines() or [""])[0]
    return CouldNotCheckError(
        f"internal error: {type(error).__name__}: {text}",
        advice="run again with DEEPSIGNS_DEBUG=1 and report what it prints",
    )
