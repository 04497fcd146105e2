"""What the tests of the command line share: a finished command, and a finished demo."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Deepsigns = Callable[..., Done]


@dataclass(frozen=True)
class Demo:
    """A finished demo."""

    folder: Path
    summary: dict[str, Any]
    printed: str
