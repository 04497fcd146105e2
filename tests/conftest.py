"""How the suite is shared out between processes."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByFolder(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Keeps together what shares servers or a trained model.

    That is a folder of integration tests, and a file of all others.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.split("::", 1)[0])
        return str(path.parent if "integration" in path.parts else path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Called by xdist, with these names, when there is more than one process."""
    return ByFolder(config, log)
