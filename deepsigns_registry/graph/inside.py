"""Running a model where the process is in a room already."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepsigns_registry.graph.sandbox_child import Answers
from deepsigns_registry.sandbox.doors import Doors

__all__ = ["HereInside"]


class HereInside:
    """Answers as a room does, in this process.

    Attributes:
        folder: Private, for the files of the requests.
        doors: Of the room that this process is in: whoever opened it knows them.
        spent: No time of its own: that of the room goes on.
    """

    spent = 0.0
    doors: Doors | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="deepsigns-"))
        self._answers = Answers(self.folder)

    def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Runs the model of a request; see `Room.ask`."""
        try:
            return self._answers(dict(request))
        except Exception as error:  # noqa: BLE001 - whatever the runtime raises is the answer
            return {"error": " ".join(str(error).split())[:300] or type(error).__name__}

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
