"""Where errors become one line and an exit code; nothing else in `cli/` catches them."""

import json
import logging
import os
import signal
import sys
from typing import Any

import click

from deepsigns_registry.cli.extras import not_installed
from deepsigns_registry.cli.printing import keep_logs_plain
from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError

__all__ = ["BoundaryGroup"]


class BoundaryGroup(click.Group):
    """A command group whose errors end as one clear line on standard error.

    With `--json` the same error also goes to standard output, for machines.
    """

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
            _fail(error)
        except KeyboardInterrupt:
            _fail(CouldNotCheckError("interrupted"))
        except BrokenPipeError:
            # The reader of our output went away; Python would complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(CouldNotCheckError.exit_code)
        except Exception as error:
            lacking = not_installed(error) if isinstance(error, ModuleNotFoundError) else None
            if lacking is not None:
                _fail(lacking)
            if os.environ.get("DEEPSIGNS_DEBUG"):
                raise
            logging.getLogger(__name__).debug("internal error", exc_info=True)
            text = (str(error).strip().splitlines() or [""])[0]
            _fail(
                CouldNotCheckError(
                    f"internal error: {type(error).__name__}: {text}",
                    advice="run again with DEEPSIGNS_DEBUG=1 and report what it prints",
                )
            )


def _fail(error: DeepSignsError) -> None:
    if "--json" in sys.argv:
        document = {"code": error.code, "message": error.message, "advice": error.advice}
        click.echo(json.dumps({"error": document, "exit_code": error.exit_code}))
    prefix = "error" if error.exit_code != 1 else "no"
    click.echo(f"{prefix} ({error.code}): {error}", err=True)
    raise click.exceptions.Exit(error.exit_code)
