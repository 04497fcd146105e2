"""How the suite is shared out between processes."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByFolder(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Keeps together what shares servers or a trained model.

    That is a folder of integration tests or of tests of the evidence, and a file of all others.
    """

    _WHOLE_FOLDERS = frozenset({"integration", "evidence"})

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.split("::", 1)[0])
        return str(path if self._WHOLE_FOLDERS.isdisjoint(path.parts) else path.parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Called by xdist, with these names, when there is more than one process."""
    return ByFolder(config, log)
