"""Which schemes a model's settings choose."""

import pytest

from deepsigns_registry.config import ModelSettings
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.retraining.options import chosen_schemes
from deepsigns_registry.watermark import schemes
from deepsigns_registry.watermark.whitebox import WhiteBox


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
    assert "whitebox, blackbox, spread, cells, uchida" in caught.value.advice


def test_a_mark_that_asks_nothing_is_refused_alone() -> None:
    with pytest.raises(ConfigurationError, match="'spread' asks a model nothing") as caught:
        chosen_schemes(ModelSettings(data="x.npz", schemes=("spread",)))
    assert caught.value.exit_code == 2
    assert chosen_schemes(ModelSettings(data="x.npz", schemes=("spread", "blackbox")))


class _ReadsTheTap:
    name = "theirs"
    needs_activation = True


def test_a_tap_that_nothing_would_verify_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schemes, "known_schemes", lambda: ("whitebox", "theirs"))
    monkeypatch.setattr(
        schemes,
        "named_schemes",
        lambda names: [WhiteBox() if name == "whitebox" else _ReadsTheTap() for name in names],
    )
    with pytest.raises(ConfigurationError, match="'theirs' reads a tap that only") as caught:
        chosen_schemes(ModelSettings(data="x.npz", schemes=("theirs",)))
    assert "add 'whitebox'" in caught.value.advice
    assert chosen_schemes(ModelSettings(data="x.npz", schemes=("theirs", "whitebox"))) is not None
