"""Which schemes a model's settings choose."""

import pytest

from deepsigns_registry.config import ModelSettings
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.retraining.stage import chosen_schemes


def test_by_default_the_model_decides() -> None:
    assert chosen_schemes(ModelSettings(data="x.npz")) is None


def test_schemes_are_chosen_by_name_and_order() -> None:
    model = ModelSettings(data="x.npz", schemes=("uchida", "whitebox"))
    chosen = chosen_schemes(model)
    assert chosen is not None
    assert [scheme.name for scheme in chosen] == ["uchida", "whitebox"]


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    model = ModelSettings(data="x.npz", schemes=("whitebox", "nobodys"))
    with pytest.raises(ConfigurationError, match="no watermark scheme named 'nobodys'") as caught:
        chosen_schemes(model)
    assert caught.value.exit_code == 2
    assert "whitebox, blackbox, uchida" in caught.value.advice
