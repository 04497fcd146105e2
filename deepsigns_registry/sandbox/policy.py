"""How many doors of a room must be closed before anything runs there."""

import logging
from functools import cache
from typing import Literal

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.sandbox.doors import Doors

__all__ = ["check_doors"]

_log = logging.getLogger(__name__)


def check_doors(doors: Doors, require: Literal["full", "limits"] | None) -> None:
    """Refuses, or says once, what a room could not close.

    Args:
        doors: Of the room.
        require: `full`: all of them; `limits`: none; None: none, but somebody should know.

    Raises:
        CouldNotCheckError: All are required, and one is open.
    """
    if not doors.open or require == "limits":
        return
    named = ", ".join(doors.open)
    if require == "full":
        raise CouldNotCheckError(
            f"sandbox: this machine cannot close: {named}",
            advice='see deepsigns sandbox, or set require = "limits" in [sandbox]',
        )
    _warn(named)


@cache
def _warn(named: str) -> None:
    _log.warning(
        "sandbox: this machine cannot close: %s; files of strangers run with what is left of it "
        "(see deepsigns sandbox)",
        named,
    )
