"""How the suite is cut in two and shared out between processes, and how patient it is."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

# A machine that does ten other things draws and tries examples slowly, and nothing is wrong.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

_DEEP_FOLDER = "integration"
"""Servers, kills, browsers, installations: `make test-deep` runs them, `make test` does not."""


class ByFolder(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Keeps together what shares servers or a trained model.

    That is a folder of integration tests or of tests of the evidence, and a file of all others.
    """

    _WHOLE_FOLDERS = frozenset({"integration", "evidence"})

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.split("::", 1)[0])
        return str(path if self._WHOLE_FOLDERS.isdisjoint(path.parts) else path.parent)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Called by pytest, with this name, before it chooses by markers."""
    for item in items:
        if _DEEP_FOLDER in item.path.parts[:-1]:
            item.add_marker(pytest.mark.deep)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Called by xdist, with these names, when there is more than one process."""
    return ByFolder(config, log)
