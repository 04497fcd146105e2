"""No error and no line names the password of an address."""

from collections.abc import Callable

import pytest

from deepsigns_registry.errors import DeepSignsError
from deepsigns_registry.registry.client import make_client, make_server_client
from deepsigns_registry.registry.reader import make_reader

ADDRESS = "mlflow:hidden-word@db/mlflow?charset=hidden-word"


@pytest.mark.parametrize("make", [make_client, make_server_client, make_reader])
@pytest.mark.parametrize("scheme", ["mysql+nothing", "nothing", "mysql"])
def test_a_database_that_cannot_be_opened(make: Callable[[str], object], scheme: str) -> None:
    with pytest.raises(DeepSignsError) as caught:
        make(f"{scheme}://{ADDRESS}")
    assert "hidden-word" not in str(caught.value)
    assert "mlflow:***@db" in str(caught.value)
