"""What has to hold of every file: an error of ours at most, soon, and without filling memory."""

import resource
import time
import traceback
from dataclasses import dataclass

from deepsigns_registry.errors import DeepSignsError
from tests.fuzz.targets import Target

MOST_SECONDS = 20.0
"""For one file, on a machine that does other things too."""

MOST_BYTES = 2**30
"""By how much one file may raise the most memory that the process ever held."""


@dataclass(frozen=True)
class Fault:
    """What did not hold.

    Attributes:
        said: In one line.
        trace: Where, when it was an exception.
    """

    said: str
    trace: str = ""


def fault_of(target: Target, content: bytes) -> Fault | None:
    """What does not hold of a file; None when all does."""
    held, started = _most_held(), time.monotonic()
    try:
        target.run(content)
    except DeepSignsError as error:
        if not str(error).isprintable() or not error.message:
            return Fault(f"{type(error).__name__} is no line of plain text")
    except Exception as error:  # noqa: BLE001 - any other is what is looked for
        return Fault(f"{type(error).__name__}: {str(error)[:200]!a}", traceback.format_exc())
    seconds, raised = time.monotonic() - started, _most_held() - held
    if seconds > MOST_SECONDS:
        return Fault(f"took {seconds:.0f} s")
    if raised > MOST_BYTES:
        return Fault(f"took {raised >> 20} MiB")
    return None


def _most_held() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
