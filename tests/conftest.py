"""How the suite is shared out between two processes."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps together what shares servers or a trained model: a folder of integration tests, a file.

    The order stays as it was collected, and with it what a fixture of a wide scope is good for.
    """
    for item in items:
        together = item.path.parent if "integration" in item.path.parts else item.path
        item.add_marker(pytest.mark.xdist_group(str(together)))
