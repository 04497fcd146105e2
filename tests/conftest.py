"""How the suite is shared out between two processes."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps together what shares servers or a trained model: a folder of integration tests, a file.

    First of all such hooks, as the one of xdist reads these marks.
    """
    for item in items:
        together = item.path.parent if "integration" in item.path.parts else item.path
        item.add_marker(pytest.mark.xdist_group(str(together)))
