"""Which schemes a model's settings choose."""

import pytest
from pydantic import ValidationError

from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.retraining.options import chosen_schemes, mark_settings
from deepsigns_registry.sections import ModelSettings
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


def test_a_mark_that_asks_nothing_may_stand_alone() -> None:
    chosen = chosen_schemes(ModelSettings(data="x.npz", schemes=("spread",)))
    assert chosen is not None
    assert [scheme.name for scheme in chosen] == ["spread"]


@pytest.mark.parametrize("schemes", [None, ("spread",)])
def test_stealth_embeds_what_nobody_sees_alone(schemes: tuple[str, ...] | None) -> None:
    model = ModelSettings(data="x.npz", stealth=True, schemes=schemes)
    chosen = chosen_schemes(model)
    assert chosen is not None
    assert [scheme.name for scheme in chosen] == ["spread"]
    assert mark_settings(model).stealth


def test_stealth_with_what_is_seen_is_refused() -> None:
    with pytest.raises(ValidationError, match="stealth embeds the scheme spread alone"):
        ModelSettings(data="x.npz", stealth=True, schemes=("spread", "blackbox"))


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
